"""What the documents show and specify."""

from __future__ import annotations

import json
import re

import pytest
from conftest import REPOSITORY, Server

from ko_sentiment import Video


def run_blocks(path: str, server: Server) -> int:
    """Runs a document's Python, block after block, and says how many there are."""
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / path).read_text(encoding="utf-8"), re.S)
    scope: dict[str, object] = {}
    for block in blocks:
        exec(block.replace("localhost:50051", server.address), scope)
    return len(blocks)


def test_the_projects_example_runs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_blocks("README.md", server) == 1
    assert "Sentiment.NEGATIVE" in capsys.readouterr().out


def test_the_readmes_examples_run(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_blocks("clients/python/README.md", server) >= 6
    printed = capsys.readouterr().out
    assert "Sentiment.POSITIVE" in printed and "긍정" in printed and "INVALID_REQUEST" in printed


def test_routing_keys_are_those_of_the_specification() -> None:
    scale = (REPOSITORY / "docs/scale.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.*?)` \| `(.*?)` \| `(.*?)` \| (?:`(.*?)`|none) \|$", scale, re.M)
    assert len(rows) >= 8
    for cells in rows:
        # A cell is a JSON string.
        video_id, title, summary = map(json.loads, cells[:3])
        assert Video(id=video_id, title=title, summary=summary).routing_key == (cells[3] or None), cells


def test_the_package_has_the_servers_version() -> None:
    version = r'^version = "(.*?)"'
    found = [
        re.search(version, (REPOSITORY / path).read_text(encoding="utf-8"), re.M)
        for path in ("Cargo.toml", "clients/python/pyproject.toml")
    ]
    assert found[0] and found[1] and found[0][1] == found[1][1]
