"""Runs a `Many` over asyncio gRPC: the tasks put events into the inbox, and one loop owns the state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from . import errors
from .lanes import Streams
from .many import Ended, Event, Exhausted, Many, ManyOptions, Received, Taken
from .results import Item, Result
from .v1 import sentiment_pb2 as pb

Items = Iterable[Item | str] | AsyncIterable[Item | str]
Open = Callable[["str | None", AsyncIterator[pb.ClassifyStreamRequest]], Any]
FINISH_SECONDS = 1.0
"""How long streams that are done may take to end as the server expects."""


class _Stream:
    """One call of ClassifyStream."""

    def __init__(self, open_call: Open, lane: str | None, inbox: asyncio.Queue[Event]) -> None:
        self._lane = lane
        self._outbox: asyncio.Queue[pb.ClassifyStreamRequest | None] = asyncio.Queue()
        self._inbox = inbox
        self._call = open_call(lane, self._requests())
        self.reader = asyncio.create_task(self._read())

    def send(self, request: pb.ClassifyStreamRequest) -> None:
        self._outbox.put_nowait(request)

    def end(self) -> None:
        """Sends no more, so that the server ends it."""
        self._outbox.put_nowait(None)

    def cancel(self) -> None:
        self._outbox.put_nowait(None)
        self._call.cancel()
        self.reader.cancel()

    async def _requests(self) -> AsyncIterator[pb.ClassifyStreamRequest]:
        while (request := await self._outbox.get()) is not None:
            yield request

    async def _read(self) -> None:
        try:
            async for response in self._call:
                self._inbox.put_nowait(Received(self._lane, self, response))
            self._inbox.put_nowait(Ended(self._lane, self, None))
        except grpc.RpcError as error:
            self._inbox.put_nowait(Ended(self._lane, self, errors.from_rpc(error)))


async def _take(items: Items, room: asyncio.Semaphore, inbox: asyncio.Queue[Event]) -> None:
    """Takes items while there is room for them."""
    try:
        source = items if isinstance(items, AsyncIterable) else _each(items)
        iterator = aiter(source)
        while True:
            await room.acquire()
            try:
                item = await anext(iterator)
            except StopAsyncIteration:
                inbox.put_nowait(Exhausted(None))
                return
            inbox.put_nowait(Taken(item))
    except Exception as error:  # the caller's own; it is raised where the caller waits
        inbox.put_nowait(Exhausted(error))


async def _each(items: Iterable[Item | str]) -> AsyncIterator[Item | str]:
    for item in items:
        yield item


async def run(open_call: Open, items: Items, options: ManyOptions) -> AsyncIterator[Result]:
    """Yields a result per item."""
    inbox: asyncio.Queue[Event] = asyncio.Queue()
    room = asyncio.Semaphore(options.window)
    source = asyncio.create_task(_take(items, room, inbox))
    many = Many(options)
    streams = Streams(lambda lane: _Stream(open_call, lane, inbox))
    try:
        while True:
            while (result := many.ready()) is not None:
                given = time.monotonic()
                yield result
                room.release()
                many.away(time.monotonic() - given)
            if many.finished:
                if ending := [stream.reader for stream in streams.end_all()]:
                    await asyncio.wait(ending, timeout=FINISH_SECONDS)
                return
            requests = many.sendable(time.monotonic())
            for lane in many.idle():
                streams.end(lane)
            for lane, request in requests:
                streams.send(lane, request)
            try:
                event = await asyncio.wait_for(inbox.get(), many.wait(time.monotonic()))
            except asyncio.TimeoutError:
                continue
            if streams.takes(event):
                many.handle(event, time.monotonic())
    finally:
        source.cancel()
        streams.cancel()
