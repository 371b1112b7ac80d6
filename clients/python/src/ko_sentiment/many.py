"""The state of one `classify_many`: what was sent, what to send again, what to give back, and when.

It does no I/O and reads no clock, so the blocking and the asyncio client share it.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

import grpc

from . import errors
from .errors import KoSentimentError
from .results import Item, Result, classification
from .retry import Retry
from .v1 import sentiment_pb2 as pb
from .video import Video, to_pb


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

    stream: object
    response: pb.ClassifyStreamResponse


@dataclass(frozen=True)
class Ended:
    """A stream has ended."""

    stream: object
    error: KoSentimentError | None


Event = Taken | Exhausted | Received | Ended


@dataclass
class _Unresolved:
    item: Item
    attempts: int = 0


class Many:
    """Items by index, from the source to the caller. `now` is any clock in seconds that only moves on."""

    def __init__(self, options: ManyOptions) -> None:
        self.options = options
        self._taken = 0
        self._exhausted = False
        self._unresolved: dict[int, _Unresolved] = {}
        self._to_send: list[tuple[float, int]] = []  # a heap: when, which
        self._not_before = 0.0
        self._breaks = 0
        self._held: dict[int, Result] = {}
        self._next_given = 0
        self._ready: deque[Result] = deque()
        self._progress = 0.0

    def handle(self, event: Event, stream: object, now: float) -> bool:
        """Takes what happened; returns whether `stream`, the current one, has ended.

        Raises:
            KoSentimentError: The stream broke and a retry would not help.
        """
        match event:
            case Taken(item):
                self._add(item, now)
            case Exhausted(error):
                if error is not None:
                    raise error
                self._exhausted = True
            case Received(sender, response) if sender is stream:
                self._receive(response, now)
            case Ended(sender, failure) if sender is stream:
                self._break(failure, now)
                return True
        return False  # or it came from a stream that was given up

    def sendable(self, now: float) -> list[pb.ClassifyStreamRequest]:
        """Returns what to send now."""
        requests: list[pb.ClassifyStreamRequest] = []
        while now >= self._not_before and self._to_send and self._to_send[0][0] <= now:
            index = heapq.heappop(self._to_send)[1]
            waiting = self._unresolved[index]
            waiting.attempts += 1
            requests.append(self._request(index, waiting.item))
            self._progress = now if len(requests) == 1 else self._progress
        return requests

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
            KoSentimentError: Nothing came for too long.
        """
        waits = []
        if self._to_send:
            waits.append(max(self._to_send[0][0], self._not_before) - now)
        if len(self._unresolved) > len(self._to_send):
            left = self._progress + self.options.timeout - now
            if left <= 0:
                message = f"no result came for {self.options.timeout:g} s"
                raise KoSentimentError(grpc.StatusCode.DEADLINE_EXCEEDED, message, reason="STALLED")
            waits.append(left)
        return max(0.0, min(waits)) if waits else None

    def resumed(self, now: float) -> None:
        """The caller asks for results again: time that it spent elsewhere is not the server's."""
        self._progress = now

    def _add(self, item: Item | str, now: float) -> None:
        item = Item(item) if isinstance(item, str) else item
        if not isinstance(item, Item):
            raise TypeError(f"item {self._taken} is a {type(item).__name__}; give a str or an Item")
        if len(self._unresolved) == len(self._to_send):
            self._progress = now  # nothing was in flight
        self._unresolved[self._taken] = _Unresolved(item)
        heapq.heappush(self._to_send, (now, self._taken))
        self._taken += 1

    def _receive(self, response: pb.ClassifyStreamResponse, now: float) -> None:
        self._progress = now
        index = int(response.id) if response.id.isdecimal() else -1
        waiting = self._unresolved.get(index)
        if waiting is None:
            return
        outcome = response.result
        if outcome.WhichOneof("outcome") == "response":
            result = Result(index, waiting.item, classification(outcome.response), None)
        else:
            error = errors.from_item(outcome.error.code, outcome.error.message or "the result is empty")
            delay = self.options.retry.item_delay(error, waiting.attempts)
            if delay is not None:
                heapq.heappush(self._to_send, (now + delay, index))
                return
            result = Result(index, waiting.item, None, error)
        del self._unresolved[index]
        self._breaks = 0
        self._give(result)

    def _break(self, error: KoSentimentError | None, now: float) -> None:
        """Every item without a result will be sent on the next stream."""
        if not self._unresolved:
            return
        early = "the stream ended before all results came"
        error = error or KoSentimentError(grpc.StatusCode.UNAVAILABLE, early)
        self._breaks += 1
        delay = self.options.retry.delay(error, self._breaks)
        if delay is None:
            raise error
        self._not_before = now + delay
        self._to_send = [(0.0, index) for index in sorted(self._unresolved)]
        for waiting in self._unresolved.values():
            waiting.attempts = 0  # the stream failed, not the item

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
