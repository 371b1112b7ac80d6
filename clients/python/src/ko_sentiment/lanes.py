"""The streams that are open: one a lane, and those that are ending."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from .many import MAX_LANES, Ended, Event, Received
from .v1 import sentiment_pb2 as pb


class Stream(Protocol):
    """One call of ClassifyStream."""

    def send(self, request: pb.ClassifyStreamRequest) -> None:
        """Sends an item."""

    def end(self) -> None:
        """Sends no more, so that the server ends it."""

    def cancel(self) -> None:
        """Ends it at once."""


S = TypeVar("S", bound=Stream)


class Streams(Generic[S]):
    """The stream of each lane. It is opened by the first item."""

    def __init__(self, open_stream: Callable[[str | None], S]) -> None:
        self._open = open_stream
        self._current: dict[str | None, S] = {}
        self._ending: deque[S] = deque(maxlen=MAX_LANES)

    def send(self, lane: str | None, request: pb.ClassifyStreamRequest) -> None:
        """Sends an item on its lane's stream."""
        if lane not in self._current:
            self._current[lane] = self._open(lane)
        self._current[lane].send(request)

    def end(self, lane: str | None) -> None:
        """Lets a lane's stream end."""
        if lane in self._current:
            stream = self._current.pop(lane)
            stream.end()
            if len(self._ending) == MAX_LANES:
                self._ending[0].cancel()  # it had time enough
            self._ending.append(stream)

    def end_all(self) -> list[S]:
        """Lets every stream end; returns those that may not have ended yet."""
        for lane in list(self._current):
            self.end(lane)
        return list(self._ending)

    def takes(self, event: Event) -> bool:
        """The event is no stream's that was given up. A stream that ended is forgotten."""
        if not isinstance(event, (Received, Ended)):
            return True
        if self._current.get(event.lane) is not event.stream:
            return False
        if isinstance(event, Ended):
            del self._current[event.lane]
        return True

    def cancel(self) -> None:
        """Ends every stream at once."""
        for stream in (*self._current.values(), *self._ending):
            stream.cancel()
