"""Columns for pandas and polars."""

from __future__ import annotations

import asyncio
from typing import Any

import pandas as pd
import polars as pl
import pytest
from conftest import Server

from ko_sentiment import AsyncClient, Client
from ko_sentiment.frames import ADDED

TEXTS = ["영상미가 정말 좋네요", None, "광고가 너무 많아서 짜증나요", " ", "영상미가 정말 좋네요"]
TITLES = ["제주 여행", "제주 여행", "먹방", None, "먹방"]


def check(rows: list[dict[str, Any]]) -> None:
    assert [row["label"] for row in rows] == ["긍정", None, "부정", None, rows[4]["label"]]
    errors = [row["error"] for row in rows]
    assert errors[0] is None and errors[1] == "the comment is missing" and "blank" in errors[3]
    for row in (rows[0], rows[2], rows[4]):
        assert row["positive"] + row["neutral"] + row["negative"] == pytest.approx(1, abs=1e-9)
        assert row["probability"] == max(row["positive"], row["neutral"], row["negative"])
        assert row["abstained"] is False


def test_pandas(client: Client) -> None:
    df = pd.DataFrame({"댓글": TEXTS, "제목": TITLES, "likes": [3, 1, 4, 1, 5]}, index=[7, 7, 8, 9, 10])
    before = df.copy()
    out = client.annotate(df, text="댓글", title="제목")
    pd.testing.assert_frame_equal(df, before)
    pd.testing.assert_frame_equal(out[list(df.columns)], before)
    assert list(out.columns) == ["댓글", "제목", "likes", *ADDED]
    rows = out.astype(object).where(out.notna(), None).to_dict("records")
    check(rows)
    alone = client.classify(str(TEXTS[0]))
    assert rows[0]["positive"] != pytest.approx(alone.positive, abs=1e-6), "the title was not sent"


def test_polars(client: Client) -> None:
    df = pl.DataFrame({"댓글": TEXTS, "제목": TITLES})
    out = client.annotate(df, text="댓글", title="제목")
    assert out.columns == ["댓글", "제목", *ADDED]
    assert out.select(df.columns).equals(df)
    check(out.to_dicts())


def test_asyncio(server: Server) -> None:
    async def main() -> pl.DataFrame:
        async with AsyncClient(server.address) as client:
            return await client.annotate(pl.DataFrame({"댓글": TEXTS}), text="댓글")

    check(asyncio.run(main()).to_dicts())


def test_the_callers_columns_stay(client: Client) -> None:
    df = pd.DataFrame({"text": ["좋아요"], "label": [1], "error": ["own"]})
    out = client.annotate(df, text="text")
    assert list(out.columns[:3]) == ["text", "label", "error"] and out["label"].tolist() == [1]
    assert out["predicted_label"].tolist() == ["긍정"] and "predicted_error" in out
    assert "positive" in out and "predicted_positive" not in out
    with pytest.raises(ValueError, match="predicted_label"):
        client.annotate(out.drop(columns="positive"), text="text")


def test_a_text_that_is_a_number_is_a_text(client: Client) -> None:
    out = client.annotate(pd.DataFrame({"text": [1004, 2.5, float("nan"), pd.NA]}, dtype=object), text="text")
    assert out["error"].isna().tolist() == [True, True, False, False]


def test_empty_and_wrong_frames(client: Client) -> None:
    empty = client.annotate(pd.DataFrame({"text": pd.Series([], dtype=str)}), text="text")
    assert empty.empty and list(empty.columns) == ["text", *ADDED]
    with pytest.raises(KeyError, match="no column 'comment'.*'text'"):
        client.annotate(pd.DataFrame({"text": ["좋아요"]}), text="comment")
    with pytest.raises(TypeError, match="collect"):
        client.annotate(pl.LazyFrame({"text": ["좋아요"]}), text="text")
    with pytest.raises(TypeError, match="list"):
        client.annotate(["좋아요"], text="text")
