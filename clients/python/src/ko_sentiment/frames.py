"""Columns of sentiments for pandas and polars; neither is imported before its own DataFrame comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .results import Item, Result, Sentiment
from .video import Video

Frame = TypeVar("Frame")
ADDED = ("label", "probability", "positive", "neutral", "negative", "abstained", "error")
EMPTY = "the comment is missing"


@dataclass(frozen=True)
class Columns:
    """The caller's columns."""

    text: str
    title: str | None
    summary: str | None
    video_id: str | None


class Sheet:
    """The rows of one DataFrame, and what becomes of them."""

    def __init__(self, df: Any, columns: Columns) -> None:
        self._df = df
        self._library = type(df).__module__.partition(".")[0]
        if self._library not in ("pandas", "polars") or type(df).__name__ != "DataFrame":
            kind = f"{type(df).__module__}.{type(df).__name__}"
            raise TypeError(f"{kind} is no DataFrame of pandas or polars; collect or convert it first")
        self._names = names_beside(list(map(str, df.columns)))
        self._comments = [cell_text(value) for value in self._column(columns.text)]
        parts = [
            [cell_text(value) or "" for value in self._column(name)] if name else [""] * len(self._comments)
            for name in (columns.title, columns.summary, columns.video_id)
        ]
        self._videos = [Video(*row) if any(row) else None for row in zip(*parts, strict=True)]
        self._sent: list[int] = []
        self._values: dict[str, list[Any]] = {name: [None] * len(self._comments) for name in ADDED}

    def items(self) -> Iterator[Item]:
        """Yields the rows that have a comment, those of a video next to each other."""
        videos: dict[Video | None, list[int]] = {}
        for row, video in enumerate(self._videos):
            videos.setdefault(video, []).append(row)
        for video, rows in videos.items():
            for row in rows:
                comment = self._comments[row]
                if comment is None:
                    self._values["error"][row] = EMPTY
                else:
                    self._sent.append(row)
                    yield Item(comment, video)

    def take(self, result: Result, labels: Mapping[Sentiment, str]) -> None:
        """Puts a result into its row."""
        row = self._sent[result.index]
        for name, cell in cells(result, labels).items():
            self._values[name][row] = cell

    def annotated(self) -> Any:
        """Returns the caller's DataFrame, unchanged, with the columns behind its own."""
        columns = {self._names[name]: (name, values) for name, values in self._values.items()}
        if self._library == "polars":
            import polars

            kinds: dict[str, Any] = {"label": polars.String, "error": polars.String, "abstained": polars.Boolean}
            return self._df.with_columns(
                polars.Series(title, values, dtype=kinds.get(name, polars.Float64))
                for title, (name, values) in columns.items()
            )
        import pandas

        dtypes = {"label": "string", "error": "string", "abstained": "boolean"}
        arrays = {
            title: pandas.Series(values, dtype=dtypes.get(name, "float64")).array
            for title, (name, values) in columns.items()
        }
        return self._df.assign(**arrays)

    def _column(self, name: str) -> list[Any]:
        columns = list(self._df.columns)
        if columns.count(name) != 1:
            found = "no" if name not in columns else "more than one"
            listed = ", ".join(map(repr, columns[:10])) + (f" and {len(columns) - 10} more" if columns[10:] else "")
            raise KeyError(f"{found} column {name!r}; the DataFrame has {listed}")
        values: list[Any] = self._df[name].to_list()
        return values


def names_beside(taken: Sequence[str]) -> dict[str, str]:
    """What each of our columns is called beside the caller's."""
    names = {name: f"predicted_{name}" if name in taken else name for name in ADDED}
    twice = [name for name in names.values() if name in taken]
    if twice:
        raise ValueError(f"the DataFrame has columns {', '.join(twice)} already; rename or drop them")
    return names


def cells(result: Result, labels: Mapping[Sentiment, str]) -> dict[str, Any]:
    """A row's cells in our columns."""
    found = result.classification
    if found is None:
        return {**dict.fromkeys(ADDED), "error": str(result.error)}
    label = None if found.sentiment is None else labels.get(found.sentiment, found.sentiment.value)
    values = (label, found.probability, found.positive, found.neutral, found.negative, found.abstained, None)
    return dict(zip(ADDED, values, strict=True))


def cell_text(value: Any) -> str | None:
    """A cell's text; None where it has none (None, NaN, NaT, NA)."""
    if isinstance(value, str):
        return value
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    return str(value)
