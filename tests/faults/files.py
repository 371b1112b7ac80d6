"""Disks that fill up, and model files that change under a server."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time

from harness.calls import Caller
from harness.server import wait_until

from .ground import fault, is_fine


@contextlib.contextmanager
def small_disk(ground, size: int):
    """A folder that takes so many bytes, and what a process needs to notice: a file system of its own where we may
    mount one, else a bound on the size of files."""
    folder = ground.folder / f"disk-{time.monotonic_ns()}"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield folder, {}
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        return

    def bound():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    yield folder, {"preexec_fn": bound}


def refused(done: subprocess.CompletedProcess, name: str) -> str:
    """The message of a command that must have failed because of a file."""
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr[-300:]}"
    assert name in done.stderr and "panicked" not in done.stderr, done.stderr[-300:]
    return done.stderr


@fault("full disk: logs", "a log that cannot be written holds up no call; the server goes on and ends with code 0")
def full_log(ground):
    # Its addresses can't be read from the log, so it gets a socket.
    socket = ground.folder / "full-log.sock"
    with open("/dev/full", "w") as full:
        command = [ground.binary, "serve", "--model", ground.model, "--listen", f"unix:{socket}", "--no-warm-up"]
        server = subprocess.Popen([str(part) for part in command], stderr=full, stdout=full)
        try:
            wait_until("the server starts", socket.exists, 180)
            with Caller(f"unix:{socket}") as client:
                for i in range(20):
                    client.classify(f"댓글 {i}")
            server.terminate()
            assert server.wait(60) == 0, f"exit code {server.returncode}"
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
    return "20 calls answered"


@fault("full disk: predictions, annotate", "exit code 1, the file and the cause named, no half file under the final name")
def full_output(ground):
    server, count = ground.server, 150
    data = ground.folder / "labelled.jsonl"
    rows = ({"text": f"{i}번째 댓글이에요. 정말 재미있어요", "label": "긍정"} for i in range(count))
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    with small_disk(ground, 8192) as (disk, limits):
        asked = ["--endpoint", server.target]
        predictions = ground.command("eval", "--data", data, "--predictions", disk / "p.jsonl", *asked, **limits)
        refused(predictions, "p.jsonl")
    with small_disk(ground, 8192) as (disk, limits):
        refused(ground.command("annotate", data, "--out", disk / "out.csv", *asked, **limits), "out.csv")
        assert not (disk / "out.csv").exists(), "half a file has the final name"
    is_fine(server)
    return "both refused"


@fault("full disk: conversion", "exit code 1, the cause named, nothing left behind")
def full_conversion(ground):
    with small_disk(ground, max(os.path.getsize(ground.model) // 8 & ~4095, 8192)) as (disk, limits):
        convert = ["convert-model", "--base", ground.model, "--quant", "Q8_0", "--out", disk / "out.gguf"]
        refused(ground.command(*convert, timeout=300, **limits), disk.name)
        left = os.listdir(disk)
        assert not left, f"left behind: {left}"
    return "nothing left behind"


def copied(ground, name: str):
    copy = ground.folder / name
    shutil.copyfile(ground.model, copy)
    return copy


@fault("model file truncated while mapped", "the server says which file and ends with code 1; no answer from lost pages")
def truncated(ground):
    copy = copied(ground, "cut.gguf")
    with ground.serve(model=copy) as server, Caller(server.target) as client:
        client.classify("네")
        os.truncate(copy, 4096)
        with contextlib.suppress(Exception):
            client.classify("좋아요", timeout=20)
        wait_until("the server ends", lambda: server.process.poll() is not None, 30)
        server.reader.join(5)
        assert server.process.returncode == 1, f"exit code {server.process.returncode}"
        assert server.logged("was changed") and server.logged("cut.gguf"), server.log[-3:]
    copy.unlink()
    return "exit code 1, file named"


@fault("model file replaced while mapped", "answers stay those of the old file, the log says so; a restart takes the new")
def replaced(ground):
    copy = copied(ground, "swapped.gguf")
    with ground.serve(model=copy) as server, Caller(server.target) as client:
        new = copied(ground, "new.gguf")
        os.replace(new, copy)
        wait_until("the log says so", lambda: server.logged("was replaced"), 10)
        client.classify("좋아요")
        is_fine(server, others=1)
    copy.unlink()
    return "still answering"
