"""Files of comments, one a line, for the scripts in the folders beside this file."""

import sys
import unicodedata
from pathlib import Path


def different(path: Path, rounds: int, each: int) -> list[list[str]]:
    """So many comments for each round, no two of which are the same: no run finds another's work in a cache."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = list(dict.fromkeys(" ".join(unicodedata.normalize("NFC", line).split()) for line in lines if line.strip()))
    if len(found) < rounds * each:
        sys.exit(f"{rounds} rounds of {each} comments need as many different ones; {path} has {len(found)}")
    return [found[first : first + each] for first in range(0, rounds * each, each)]
