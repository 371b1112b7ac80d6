"""The state of `classify_many`, without a server and a clock."""

from __future__ import annotations

import grpc
import pytest

from ko_sentiment import Item, KoSentimentError, Retry, Video
from ko_sentiment.many import MAX_LANES, Ended, Exhausted, Many, ManyOptions, Received, Taken
from ko_sentiment.v1 import sentiment_pb2 as pb

UNAVAILABLE = KoSentimentError(grpc.StatusCode.UNAVAILABLE, "gone")


def many(videos: list[str], timeout: float = 10) -> Many:
    made = Many(ManyOptions(None, False, 1000, timeout, Retry(attempts=3, first_delay=1, max_delay=1)))
    for id in videos:
        made.handle(Taken(Item("좋아요", Video(id=id) if id else None)), 0)
    made.handle(Exhausted(None), 0)
    return made


def sent(made: Many, now: float) -> list[tuple[str | None, str]]:
    return [(lane, request.id) for lane, request in made.sendable(now)]


def answer(made: Many, lane: str | None, id: str, now: float) -> None:
    result = pb.ItemResult(response=pb.ClassifyResponse(sentiment=pb.SENTIMENT_POSITIVE))
    made.handle(Received(lane, None, pb.ClassifyStreamResponse(id=id, result=result)), now)


def test_beyond_the_limit_videos_go_unrouted() -> None:
    made = many([f"v{n}" for n in range(MAX_LANES + 2)] + ["v0"])
    lanes = [lane for lane, _ in sent(made, 0)]
    assert lanes == [f"v{n}" for n in range(MAX_LANES)] + [None, None, "v0"]
    assert made.idle() == []
    answer(made, "v1", "1", 0)
    made.handle(Taken(Item("좋아요", Video(id="new"))), 0)
    assert sent(made, 0) == [("new", str(MAX_LANES + 3))]
    assert made.idle() == ["v1"]


def test_a_break_is_its_lanes_own() -> None:
    made = many(["a", "b", "a"])
    assert sent(made, 0) == [("a", "0"), ("b", "1"), ("a", "2")]
    made.handle(Ended("a", None, UNAVAILABLE), 0)
    answer(made, "b", "1", 0)
    assert sent(made, 0.4) == [], "not before the delay"
    assert sent(made, 1) == [("a", "0"), ("a", "2")]
    answer(made, "a", "2", 1)
    for now in (1, 2):  # the result began a new row of breaks
        made.handle(Ended("a", None, UNAVAILABLE), now)
        assert sent(made, now + 1) == [("a", "0")]
    with pytest.raises(KoSentimentError, match="gone"):
        made.handle(Ended("a", None, UNAVAILABLE), 3)


def test_a_silent_lane_is_noticed_beside_a_busy_one() -> None:
    made = many(["a", "b", "b"])
    sent(made, 0)
    answer(made, "b", "1", 9)
    made.away(5)
    assert made.wait(9) == 6, "the caller's time is not the server's"
    with pytest.raises(KoSentimentError, match="STALLED"):
        made.wait(15)


def test_an_idle_stream_may_end() -> None:
    made = many(["a"])
    sent(made, 0)
    answer(made, "a", "0", 0)
    made.handle(Ended("a", None, UNAVAILABLE), 0)
    assert made.finished
