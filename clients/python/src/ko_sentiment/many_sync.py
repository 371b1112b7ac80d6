"""Runs a `Many` over blocking gRPC.

Threads beside the caller's: one takes items from the source, and for each stream one (gRPC's) sends and one
receives. All state belongs to the caller's thread; the others only put events into its inbox.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from . import errors
from .lanes import Streams
from .many import Ended, Event, Exhausted, Many, ManyOptions, Received, Taken
from .results import Item, Result
from .v1 import sentiment_pb2 as pb

Open = Callable[["str | None", Iterator[pb.ClassifyStreamRequest]], Any]
FINISH_SECONDS = 1.0
"""How long streams that are done may take to end as the server expects."""


class _Stream:
    """One call of ClassifyStream."""

    def __init__(self, open_call: Open, lane: str | None, inbox: queue.SimpleQueue[Event]) -> None:
        self._lane = lane
        self._outbox: queue.SimpleQueue[pb.ClassifyStreamRequest | None] = queue.SimpleQueue()
        self._inbox = inbox
        self._call = open_call(lane, iter(self._outbox.get, None))
        self._reader = threading.Thread(target=self._read, name="ko-sentiment-read", daemon=True)
        self._reader.start()

    def send(self, request: pb.ClassifyStreamRequest) -> None:
        self._outbox.put(request)

    def end(self) -> None:
        """Sends no more, so that the server ends it."""
        self._outbox.put(None)

    def join(self, seconds: float) -> None:
        """Waits for its end."""
        self._reader.join(seconds)

    def cancel(self) -> None:
        self._outbox.put(None)
        self._call.cancel()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._inbox.put(Received(self._lane, self, response))
            self._inbox.put(Ended(self._lane, self, None))
        except grpc.RpcError as error:
            self._inbox.put(Ended(self._lane, self, errors.from_rpc(error)))


class _Source:
    """Takes items while there is room for them."""

    def __init__(self, items: Iterable[Item | str], window: int, inbox: queue.SimpleQueue[Event]) -> None:
        self._items = iter(items)
        self._room = threading.Semaphore(window)
        self._inbox = inbox
        self._closed = False
        threading.Thread(target=self._take, name="ko-sentiment-take", daemon=True).start()

    def given(self) -> None:
        """One result was given back."""
        self._room.release()

    def close(self) -> None:
        self._closed = True
        self._room.release()

    def _take(self) -> None:
        try:
            while self._room.acquire() and not self._closed:
                try:
                    item = next(self._items)
                except StopIteration:
                    self._inbox.put(Exhausted(None))
                    return
                self._inbox.put(Taken(item))
        except BaseException as error:  # the caller's own; it is raised where the caller waits
            self._inbox.put(Exhausted(error))


def run(open_call: Open, items: Iterable[Item | str], options: ManyOptions) -> Iterator[Result]:
    """Yields a result per item."""
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    source = _Source(items, options.window, inbox)
    many = Many(options)
    streams = Streams(lambda lane: _Stream(open_call, lane, inbox))
    try:
        while True:
            while (result := many.ready()) is not None:
                given = time.monotonic()
                yield result
                source.given()
                many.away(time.monotonic() - given)
            if many.finished:
                deadline = time.monotonic() + FINISH_SECONDS
                for stream in streams.end_all():
                    stream.join(max(0.0, deadline - time.monotonic()))
                return
            requests = many.sendable(time.monotonic())
            for lane in many.idle():
                streams.end(lane)
            for lane, request in requests:
                streams.send(lane, request)
            try:
                event = inbox.get(timeout=many.wait(time.monotonic()))
            except queue.Empty:
                continue
            if streams.takes(event):
                many.handle(event, time.monotonic())
    finally:
        source.close()
        streams.cancel()
