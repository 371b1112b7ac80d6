"""The prompt profile: the one truth about what the model reads and answers.

The recipe reads the same TOML file that `convert-model` writes into the GGUF, so a model
can't be trained with one prompt and served with another.
"""

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PROFILE = Path(__file__).parent.parent / "profiles" / "ko-youtube-sentiment.toml"

# The order of every class array in this folder.
SENTIMENTS = ("positive", "neutral", "negative")


@dataclass(frozen=True)
class Profile:
    """A parsed profile; `labels` maps "positive", "neutral", "negative" to Korean words."""

    name: str
    instruction: str
    comment: str
    turn: dict[str, str]
    video: dict[str, str]
    answer: dict[str, str]
    labels: dict[str, str]

    @classmethod
    def read(cls, path: Path = DEFAULT_PROFILE) -> "Profile":
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{key: table[key] for key in cls.__dataclass_fields__})

    @property
    def label_words(self) -> tuple[str, ...]:
        """The Korean label words in the order of `SENTIMENTS`."""
        return tuple(self.labels[name] for name in SENTIMENTS)

    def static_text(self) -> str:
        """What every prompt starts with, whatever the comment."""
        return "<bos>" + self.turn["user"] + self.instruction

    def pieces(self, comment: str, title: str = "", summary: str = "") -> list[tuple[str, bool]]:
        """The rest of the prompt and the answer prefix, as (text, is it trusted?) pieces.

        Trusted pieces may hold control tokens, the caller's text may not. The space before
        a placeholder goes with the caller's text, so that the pieces tokenise as the whole.
        """
        pieces: list[tuple[str, bool]] = []

        def fill(template: str, slot: str, text: str) -> None:
            before, after = template.split("{" + slot + "}")
            space = " " if before.endswith(" ") else ""
            pieces.append((before.removesuffix(" "), True))
            pieces.append((space + normalise(text), False))
            pieces.append((after, True))

        if title:
            fill(self.video["title"], "title", title)
        if summary:
            fill(self.video["summary"], "summary", summary)
        if title or summary:
            pieces.append((self.video["end"], True))
        fill(self.comment, "comment", comment)
        pieces.append((self.turn["model"] + self.answer["prefix"], True))

        merged: list[tuple[str, bool]] = []
        for text, trusted in pieces:
            if merged and merged[-1][1] == trusted:
                merged[-1] = (merged[-1][0] + text, trusted)
            else:
                merged.append((text, trusted))
        return merged


def normalise(text: str) -> str:
    """NFC; no control characters; a whitespace run is one newline if it holds one, else one
    space; trimmed. The service does the same before it tokenises."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc")
    text = re.sub(r"\s+", lambda run: "\n" if "\n" in run.group() else " ", text)
    return text.strip()
