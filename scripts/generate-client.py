#!/usr/bin/env python3
"""Generates the Python client's code from the proto, in the checkout, for tests that import it from there."""

import runpy
import sys
import types
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "clients/python"

# The generator is a build hook of hatchling, which is not needed to call it.
interface = types.ModuleType("hatchling.builders.hooks.plugin.interface")
interface.BuildHookInterface = object  # type: ignore[attr-defined]
sys.modules[interface.__name__] = interface
generator = runpy.run_path(str(PACKAGE / "generate.py"))
generated = PACKAGE / "src/ko_sentiment/v1/sentiment_pb2.py"
proto = PACKAGE / "../../proto" / generator["PROTO"]
if not generated.exists() or generated.stat().st_mtime < proto.stat().st_mtime:
    generator["generate"](PACKAGE)
