#!/usr/bin/env python3
"""Builds the folder (and the .tar.gz) that is shipped: dist/ko-sentiment-VERSION-TARGET/.

It holds the binary, llama.cpp's libraries and every CPU variant of its backend, which the binary
looks for beside itself; man pages, completions, systemd's units, a bill of materials, licences and checksums.
`--features cuda` (with nvcc) adds the CUDA backend.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import release_papers

ROOT = Path(__file__).resolve().parent.parent
# Of its own, so that the source build's compiled llama.cpp stays.
TARGET_DIR = ROOT / "target" / "dist-build"
TEXTS = ["LICENSE", "README.md", "models/profiles/ko-youtube-sentiment.toml"]


def build(features: list[str]) -> tuple[Path, str, Path]:
    """The binary, its version, and the folder into which llama.cpp was installed."""
    origin = "@loader_path" if sys.platform == "darwin" else "$ORIGIN"
    # The rustflags take the place of .cargo/config.toml's: nothing may depend on the building CPU.
    environment = os.environ | {"CARGO_ENCODED_RUSTFLAGS": "", "CMAKE_INSTALL_RPATH": origin}
    command = ["cargo", "build", "--profile", "dist", "--features", ",".join(["dynamic-backends", *features])]
    command += ["--bin", "ko-sentiment", "--target-dir", str(TARGET_DIR)]
    command += ["--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    binary = next(m for m in messages if m.get("executable"))
    version = re.split("[@#]", binary["package_id"])[-1]
    scripts = [m for m in messages if m["reason"] == "build-script-executed"]
    installed = next(m["out_dir"] for m in scripts if "llama-cpp-sys-2" in m["package_id"])
    return Path(binary["executable"]), version, Path(installed)


def libraries(installed: Path) -> list[Path]:
    """The libraries under the names by which the binary and llama.cpp ask for them."""
    soname = re.compile(r"\.so\.\d+$|\.\d+\.dylib$")
    linked = [path for path in installed.glob("lib*/lib*") if soname.search(path.name)]
    # The bindings build it, and nothing calls it.
    linked = [path for path in linked if not path.name.startswith("libllama-common")]
    loaded = sorted((installed / "backends").glob("libggml-*.so"))
    if not linked or not any(path.name.startswith("libggml-cpu") for path in loaded):
        sys.exit(f"release: llama.cpp's libraries are not in {installed}")
    return sorted(linked) + loaded


def assemble(folder: Path, binary: Path, files: list[Path], features: list[str], target: str) -> None:
    """Fills a new folder and gives it its name once it is whole."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in [binary, *files, *(ROOT / text for text in TEXTS)]:
        shutil.copy2(path, part / path.name)
    shutil.copytree(ROOT / "deploy" / "systemd", part / "systemd")
    release_papers.write(part, ["dynamic-backends", *features], target)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def pack(folder: Path) -> Path:
    archive = folder.with_name(folder.name + ".tar.gz")
    part = archive.with_name(archive.name + ".part")
    with tarfile.open(part, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    part.rename(archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(archive.name + ".sha256").write_text(f"{digest}  {archive.name}\n")
    return archive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", default="", help="further cargo features, with commas between: cuda, vulkan")
    args = parser.parse_args()
    features = [f for f in args.features.split(",") if f]
    binary, version, installed = build(features)
    target = re.search(r"host: (\S+)", subprocess.check_output(["rustc", "-vV"], text=True)).group(1)
    folder = ROOT / "dist" / f"ko-sentiment-{version}-{target}"
    assemble(folder, binary, libraries(installed), features, target)
    archive = pack(folder)
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        print(f"{path.stat().st_size / 2**20:8.1f} MiB  {path.name}")
    print(f"{folder.relative_to(ROOT)}\n{archive.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
