"""Tokens files, made as an operator makes them."""

import json
import os
import subprocess
from pathlib import Path

from .server import environment


def new_token(binary, name: str) -> tuple[str, str]:
    """A new token and its entry for the tokens file."""
    command = [binary, "token", "new", name, "--json"]
    made = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment())
    made = json.loads(made.stdout)
    return made["token"], made["entry"]


def put(path: Path, text: str) -> None:
    """Replaces a file in one step; only its owner may read it."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text)
    os.replace(new, path)
