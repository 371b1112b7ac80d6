"""The video that comments stand under, and the key that routes its requests."""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote

from .v1 import sentiment_pb2 as pb

ROUTING_HEADER = "x-ko-sentiment-video"
"""Metadata key of :attr:`Video.routing_key`; `docs/scale.md` specifies it."""


@dataclass(frozen=True)
class Video:
    """The video that comments stand under. All fields are optional.

    Requests whose title and summary are equal share their computation.
    """

    title: str = ""
    """Maximum 100 characters."""
    summary: str = ""
    """What happens in the video; maximum 5,000 characters."""
    id: str = ""
    """Your id of the video; maximum 128 characters. The model never sees it."""

    @functools.cached_property
    def routing_key(self) -> str | None:
        """Equal for requests that one replica should answer; None if nothing is known of the video."""
        if self.id:
            return quote(self.id, safe="")
        if not self.title and not self.summary:
            return None
        text = unicodedata.normalize("NFC", self.title) + "\n" + unicodedata.normalize("NFC", self.summary)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_pb(video: Video | None) -> pb.Video | None:
    """The video as the API has it."""
    return None if video is None else pb.Video(id=video.id, title=video.title, summary=video.summary)
