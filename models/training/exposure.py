"""What of a video a comment shows in training, since in use titles and summaries may be missing."""

import dataclasses
import random
import re
from dataclasses import dataclass

from data import Comment

STRANGE = 0.5  # of the comments without a video, how many show one that must not matter


@dataclass(frozen=True)
class Shares:
    """How often a comment with a video shows title and summary, or the title alone (else neither), and how
    often what it shows is another video's: its words decide, whatever the title."""

    both: float = 0.25
    title: float = 0.35
    swapped: float = 0.25


# Real comments stand under few videos. Shown with their own titles, they teach a title's mood, not its meaning.
REAL = Shares(both=0.3, title=0.5, swapped=0.75)


def expose(
    comment: Comment, chance: random.Random, videos: list[tuple[str, str]], shares: Shares = Shares()
) -> Comment:
    """The comment with title and summary, with the title alone, or with neither.

    One that turns with its video keeps it. One that has no video often gets one that must not matter, unless it is
    KOTE's: its labels follow another rule, and a title tells the model that the guidelines' holds.
    """
    draw = chance.random()
    if not comment.title:
        if videos and draw < STRANGE and comment.source != "kote":
            title, summary = chance.choice(videos)
            return dataclasses.replace(comment, title=title, summary=summary if draw < STRANGE / 3 else "")
        return comment
    if comment.turns:
        return comment if draw < 0.5 else dataclasses.replace(comment, summary="")
    if comment.source == "youtube":
        shares = REAL
    if draw >= shares.both + shares.title:
        return dataclasses.replace(comment, title="", summary="")
    title, summary = comment.title, comment.summary
    if videos and chance.random() < shares.swapped:
        title, summary = chance.choice(videos)
    return dataclasses.replace(comment, title=title, summary=summary if draw < shares.both else "")


def leans_on_video(comment: Comment, shown: Comment) -> bool:
    """Whether the reason has words of the title or summary that are neither shown nor in the comment:
    from what isn't there a model would learn to invent."""
    hidden = stems(comment.title + " " + comment.summary) - stems(shown.title + " " + shown.summary)
    return bool(stems(comment.rationale) & (hidden - stems(comment.text)))


def stems(text: str) -> set[str]:
    """The first two syllables of each word of at least two."""
    return {word[:2] for word in re.findall(r"[가-힣A-Za-z0-9]{2,}", text)} - COMMON


COMMON = frozenset("영상 댓글 장면 사람 시청 유튜 채널 모습 이야 보여 하는 있는 한다 나온 나오 알려 소개".split())
