#!/usr/bin/env python3
"""Holds the Vulkan build against the CPU build, on Mesa's lavapipe: a GPU in software, which is slow.

Verdicts and log-probabilities of 50 comments; a stream that is cancelled; messages where memory is short; `devices`.
scripts/test-gpu.sh builds what this needs, and says how long it takes.
"""

import json
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from harness import BINARY, MIB, MODEL, ROOT
from harness.calls import Caller
from harness.server import Server, environment, wait_until

GPU = ROOT / "target/gpu/release/ko-sentiment"
# Largest difference of a label's log-probability, and half of the differences', in nats. On the CPU, llama.cpp's kernels
# differ from ours by 0.27 and 0.03 with these comments: both round what they multiply to 8 bits, the GPU does not.
LARGEST, MEDIAN = 0.4, 0.1
COMMENTS = """
최고예요|감동이에요|노래 너무 좋아요|진짜 잘 만들었네요|보면서 울었어요|목소리가 예뻐요|항상 응원합니다|덕분에 힘이 나요|정말 유익해요|믿고 보는 채널
웃겨서 계속 봤어요|구독하고 갑니다|편집이 깔끔해요|연기 대박|다음 편 기대돼요|힐링 그 자체|설명이 쉬워서 좋네요|역시 최고|행복하세요|사랑해요
별로예요|너무 지루해요|광고가 너무 많네|실망했어요|시간 낭비|소리가 안 들려요|제목이 낚시네|그만 좀 해라|기분 나쁘네요|돈이 아까워요
재미없다|편집이 엉망이에요|거짓말하지 마세요|이건 아니지|짜증나|구독 취소합니다|자막이 다 틀렸네|너무 시끄러워요|최악이다|보기 싫어요
3분 20초|이 노래 제목이 뭔가요?|어디서 촬영했나요?|다음 주 화요일에 올라옵니다|2부는 언제 나와요?|저는 부산 살아요|배경 음악 정보 좀|1편부터 보세요|몇 시에 시작해요?|카메라 뭐 쓰세요?
"""


def say(text: str) -> None:
    print(f"test-gpu: {text}", flush=True)


def variables() -> dict:
    """This process's variables, and those that choose lavapipe, which llama.cpp skips otherwise, as it is a CPU."""
    drivers = ":".join(map(str, Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json")))
    assert drivers, "lavapipe is missing; scripts/test-gpu.sh installs it"
    # The second is the name that loaders before 1.3.207 know.
    return environment() | {"VK_DRIVER_FILES": drivers, "VK_ICD_FILENAMES": drivers, "GGML_VK_VISIBLE_DEVICES": "0"}


def run(binary: Path, *arguments, prefix=(), code: int = 0) -> subprocess.CompletedProcess:
    command = [str(part) for part in (*prefix, binary, *arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables())
    assert done.returncode == code, f"{command} ends with {done.returncode}: {done.stdout}{done.stderr}"
    return done


def devices() -> None:
    found = json.loads(run(GPU, "devices", "--json").stdout)["devices"]
    gpu = [d for d in found if d["backend"] == "Vulkan"]
    assert gpu, f"no Vulkan device: {found}"
    assert gpu[0]["name"] in run(GPU, "devices").stdout
    say(f"devices: {gpu[0]['name']}, {gpu[0]['description']}")


def answers(binary: Path, data: Path) -> list[dict]:
    """What it predicts for the rows of a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.jsonl"
        run(binary, "eval", "--model", MODEL, "--data", data, "--predictions", file)
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        return sorted((line for line in lines if "row" in line), key=lambda line: line["row"])


def verdicts(folder: Path) -> None:
    comments = re.split(r"[|\n]", COMMENTS.strip())
    data = folder / "comments.jsonl"
    # `eval` wants a label; it plays no part here.
    rows = (json.dumps({"comment": comment, "label": "중립"}, ensure_ascii=False) for comment in comments)
    data.write_text("\n".join(rows), encoding="utf-8")
    begun = time.monotonic()
    gpu = answers(GPU, data)
    seconds = time.monotonic() - begun
    cpu = answers(BINARY, data)
    assert len(gpu) == len(cpu) == len(comments)
    pairs = list(zip(gpu, cpu))
    moved = [abs(a - b) for g, c in pairs for a, b in zip(g["log_probs"], c["log_probs"])]
    largest, median = max(moved), statistics.median(moved)
    same = sum(g["predicted"] == c["predicted"] for g, c in pairs)
    found = f"log-probabilities differ by {largest:.3f} at most, half of them by less than {median:.3f}"
    say(f"verdicts: {same} of {len(pairs)} as on the CPU; {found}; {seconds:.0f} s")
    assert same == len(pairs), [(g, c) for g, c in pairs if g["predicted"] != c["predicted"]]
    assert largest < LARGEST and median < MEDIAN


def stream() -> None:
    """A reason that the client cancels while it is written; the server goes on, and ends as it should."""
    flags = ["--log-level", "info,llama-cpp-2=info"]
    with Server(GPU, MODEL, *flags, env=variables(), patience=600) as server, Caller(server.target) as client:
        offloaded = re.search(r"offloaded (\d+)/(\d+) layers", "".join(server.log))
        assert offloaded and offloaded[1] == offloaded[2], "not all layers are on the GPU"
        events = client.reason("노래 너무 좋아요", 200, timeout=600)
        received = [next(events) for _ in range(4)]
        events.cancel()
        cancelled = lambda: server.metric("ko_sentiment_jobs_ended_total", outcome="cancelled")
        wait_until("the job ends", cancelled, 120)
        assert client.classify("최고예요", timeout=600), "no answer after the cancelled stream"
        assert server.stop(120) == 0
    say(f"stream: {offloaded[0]}; cancelled after {len(received)} events, and the server answered again")


def refused(mib: int, *flags) -> str:
    """What a command says that may have so much memory, which is too little. Lavapipe's memory is the process's: with a
    limit on that, it says that the device has no more, as a full GPU does."""
    return run(GPU, "classify", "--model", MODEL, *flags, "최고예요", prefix=["prlimit", f"--as={mib * MIB}"], code=1).stderr


def memory() -> None:
    """Messages where the GPU's memory is short, for the KV cache (18 KiB a token) and for the weights."""
    said = refused(4_000, "--ctx-size", 500_000)
    assert "ErrorOutOfDeviceMemory" in said, said
    assert "cannot make a context of 500000 tokens; if memory is short, lower --ctx-size" in said, said
    say(f"KV cache too large: {said.splitlines()[-1]}")
    # From too little for the file to too little for the cache; between these are the weights.
    for mib in range(512, 4096, 32):
        said = refused(mib)
        if "unable to allocate Vulkan0 buffer" in said:
            break
        assert "mmap failed" in said, said
    assert "ErrorOutOfDeviceMemory" in said and f"cannot load {MODEL}: memory is short" in said, said
    say(f"weights too large: {said.splitlines()[-1]}")


def main() -> None:
    begun = time.monotonic()
    devices()
    with tempfile.TemporaryDirectory() as folder:
        verdicts(Path(folder))
    stream()
    memory()
    say(f"all passed in {(time.monotonic() - begun) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
