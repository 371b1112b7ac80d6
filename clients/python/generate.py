"""Generates `ko_sentiment/v1` from the repository's proto, whenever the package is built from a checkout.

A source distribution has the generated code in it, and no proto beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = "ko_sentiment/v1/sentiment.proto"


def generate(package: Path) -> None:
    """Writes the messages, their type stubs and the service's stub below `package`/src."""
    protos, src = package / "../../proto", package / "src"
    out = src / "ko_sentiment/v1"
    if not (protos / PROTO).exists():
        if not (out / "sentiment_pb2.py").exists():
            raise FileNotFoundError(f"{protos / PROTO} is missing; build from a checkout of ko-sentiment")
        return
    import grpc_tools
    from grpc_tools import protoc

    shutil.rmtree(out, ignore_errors=True)
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={src}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{protos}", f"-I{well_known}", *outputs, PROTO]) != 0:
        raise RuntimeError(f"protoc rejected {PROTO}; see its message above")
    (out / "__init__.py").write_text('"""Generated from ko_sentiment/v1/sentiment.proto."""\n')


class GenerateHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before hatchling collects the files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        generate(Path(self.root))
