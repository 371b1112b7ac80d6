"""The state of one `classify_many`: what was sent where, what to send again, what to give back, and when.

It does no I/O and reads no clock, so the blocking and the asyncio client share it. Items of one video share a
lane, which is one stream and its routing header.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

import grpc

from . import errors
from .errors import KoSentimentError
from .results import Item, Result, classification
from .retry import Retry
from .v1 import sentiment_pb2 as pb
from .video import Video, to_pb

MAX_LANES = 32
"""Maximum routed streams at once. While all are busy, items of further videos go unrouted, on a stream of their own."""


@dataclass(frozen=True)
class ManyOptions:
    """What the caller asked for."""

    video: Video | None
    """The video of items that have none of their own."""
    ordered: bool
    """Give results back in the items' order."""
    window: int
    """Maximum items taken from the source whose results were not yet given back."""
    timeout: float
    """Seconds without a result, while items are in flight, after which the stream has failed."""
    retry: Retry
    routed: bool = True
    """One stream per video, each with its routing header; otherwise one stream, routed by `video`."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window {self.window} leaves no room for an item; give at least 1")


@dataclass(frozen=True)
class Taken:
    """The source had another item."""

    item: Item | str


@dataclass(frozen=True)
class Exhausted:
    """The source has no more items, or failed with the caller's own error."""

    error: BaseException | None


@dataclass(frozen=True)
class Received:
    """A stream brought a result."""

    lane: str | None
    stream: object
    response: pb.ClassifyStreamResponse


@dataclass(frozen=True)
class Ended:
    """A stream has ended."""

    lane: str | None
    stream: object
    error: KoSentimentError | None


Event = Taken | Exhausted | Received | Ended


@dataclass
class _Unresolved:
    item: Item
    attempts: int = 0
    lane: _Lane | None = None


@dataclass
class _Lane:
    """What one routing key's stream carries."""

    key: str | None
    sent: set[int] = field(default_factory=set)
    """On their way."""
    held: set[int] = field(default_factory=set)
    """To be sent again."""
    breaks: int = 0
    """Streams in a row that brought nothing."""
    not_before: float = 0.0
    progress: float = 0.0


class Many:
    """Items by index, from the source to the caller. `now` is any clock in seconds that only moves on."""

    def __init__(self, options: ManyOptions) -> None:
        self.options = options
        self._taken = 0
        self._exhausted = False
        self._unresolved: dict[int, _Unresolved] = {}
        self._to_send: list[tuple[float, int]] = []  # a heap: when, which
        self._lanes: dict[str | None, _Lane] = {}  # the longest unused first
        self._idle: list[str | None] = []
        self._held: dict[int, Result] = {}
        self._next_given = 0
        self._ready: deque[Result] = deque()
        self._away = 0.0

    def handle(self, event: Event, now: float) -> None:
        """Takes what happened on the streams that are in use.

        Raises:
            KoSentimentError: A stream broke and a retry would not help.
        """
        match event:
            case Taken(item):
                self._add(item, now)
            case Exhausted(error):
                if error is not None:
                    raise error
                self._exhausted = True
            case Received(key, _, response):
                self._receive(self._lanes[key], response, now)
            case Ended(key, _, failure):
                self._break(self._lanes[key], failure, now)

    def sendable(self, now: float) -> list[tuple[str | None, pb.ClassifyStreamRequest]]:
        """Returns what to send now, and on which lane."""
        requests = []
        while self._to_send and self._to_send[0][0] <= now:
            index = heapq.heappop(self._to_send)[1]
            waiting = self._unresolved[index]
            lane = waiting.lane = waiting.lane or self._lane(waiting.item)
            lane.held.add(index)
            if lane.not_before > now:
                heapq.heappush(self._to_send, (lane.not_before, index))
                continue
            if not lane.sent:
                lane.progress = now - self._away
            lane.held.discard(index)
            lane.sent.add(index)
            waiting.attempts += 1
            requests.append((lane.key, self._request(index, waiting.item)))
        return requests

    def idle(self) -> list[str | None]:
        """Returns the lanes whose streams should end, to make room for others."""
        lanes, self._idle = self._idle, []
        return lanes

    def ready(self) -> Result | None:
        """Returns the next result to give back, if there is one."""
        return self._ready.popleft() if self._ready else None

    @property
    def finished(self) -> bool:
        """Every item of the source has a result."""
        return self._exhausted and not self._unresolved

    def wait(self, now: float) -> float | None:
        """Returns for how many seconds there is nothing to do unless something comes; None is for ever.

        Raises:
            KoSentimentError: Nothing came on a lane for too long.
        """
        waits = []
        if self._to_send:
            waits.append(self._to_send[0][0] - now)
        progress = [lane.progress for lane in self._lanes.values() if lane.sent]
        if progress:
            left = min(progress) + self._away + self.options.timeout - now
            if left <= 0:
                message = f"no result came for {self.options.timeout:g} s"
                raise KoSentimentError(grpc.StatusCode.DEADLINE_EXCEEDED, message, reason="STALLED")
            waits.append(left)
        return max(0.0, min(waits)) if waits else None

    def away(self, seconds: float) -> None:
        """The caller spent time elsewhere, which is not the server's."""
        self._away += seconds

    def _add(self, item: Item | str, now: float) -> None:
        item = Item(item) if isinstance(item, str) else item
        if not isinstance(item, Item):
            raise TypeError(f"item {self._taken} is a {type(item).__name__}; give a str or an Item")
        self._unresolved[self._taken] = _Unresolved(item)
        heapq.heappush(self._to_send, (now, self._taken))
        self._taken += 1

    def _lane(self, item: Item) -> _Lane:
        video = (item.video if self.options.routed else None) or self.options.video
        key = None if video is None else video.routing_key
        if key is not None and key not in self._lanes and not self._room():
            key = None
        lane = self._lanes.pop(key, None) or _Lane(key)
        self._lanes[key] = lane
        return lane

    def _room(self) -> bool:
        """There is room for another lane, or one that has nothing to do gives up its own."""
        if len(self._lanes) < MAX_LANES:
            return True
        for key, lane in self._lanes.items():
            if not lane.sent and not lane.held:
                del self._lanes[key]
                self._idle.append(key)
                return True
        return False

    def _receive(self, lane: _Lane, response: pb.ClassifyStreamResponse, now: float) -> None:
        lane.progress = now - self._away
        index = int(response.id) if response.id.isdecimal() else -1
        waiting = self._unresolved.get(index)
        if waiting is None or index not in lane.sent:
            return
        outcome = response.result
        lane.sent.discard(index)
        if outcome.WhichOneof("outcome") == "response":
            result = Result(index, waiting.item, classification(outcome.response), None)
        else:
            error = errors.from_item(outcome.error.code, outcome.error.message or "the result is empty")
            delay = self.options.retry.item_delay(error, waiting.attempts)
            if delay is not None:
                lane.held.add(index)
                heapq.heappush(self._to_send, (now + delay, index))
                return
            result = Result(index, waiting.item, None, error)
        del self._unresolved[index]
        lane.breaks = 0
        self._give(result)

    def _break(self, lane: _Lane, error: KoSentimentError | None, now: float) -> None:
        """Every item of the lane without a result will be sent on its next stream."""
        if not lane.sent and not lane.held:
            return
        early = "the stream ended before all results came"
        error = error or KoSentimentError(grpc.StatusCode.UNAVAILABLE, early)
        lane.breaks += 1
        delay = self.options.retry.delay(error, lane.breaks)
        if delay is None:
            raise error
        lane.not_before = now + delay
        for index in lane.sent:
            self._unresolved[index].attempts = 0  # the stream failed, not the item
            heapq.heappush(self._to_send, (lane.not_before, index))
        lane.held |= lane.sent
        lane.sent = set()

    def _request(self, index: int, item: Item) -> pb.ClassifyStreamRequest:
        video = to_pb(item.video or self.options.video)
        request = pb.ClassifyRequest(comment=item.comment, video=video, reproducible=item.reproducible)
        return pb.ClassifyStreamRequest(id=str(index), request=request)

    def _give(self, result: Result) -> None:
        if not self.options.ordered:
            self._ready.append(result)
            return
        self._held[result.index] = result
        while self._next_given in self._held:
            self._ready.append(self._held.pop(self._next_given))
            self._next_given += 1
