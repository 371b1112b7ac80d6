"""Runs a `Many` over asyncio gRPC: the tasks put events into the inbox, and one loop owns the state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from . import errors
from .many import Ended, Event, Exhausted, Many, ManyOptions, Received, Taken
from .results import Item, Result
from .v1 import sentiment_pb2 as pb

Items = Iterable[Item | str] | AsyncIterable[Item | str]
Open = Callable[[AsyncIterator[pb.ClassifyStreamRequest]], Any]


class _Stream:
    """One call of ClassifyStream."""

    def __init__(self, open_call: Open, inbox: asyncio.Queue[Event]) -> None:
        self._outbox: asyncio.Queue[pb.ClassifyStreamRequest | None] = asyncio.Queue()
        self._inbox = inbox
        self._call = open_call(self._requests())
        self._reader = asyncio.create_task(self._read())

    def send(self, request: pb.ClassifyStreamRequest) -> None:
        self._outbox.put_nowait(request)

    async def finish(self) -> None:
        """Ends it as the server expects, and lets it go if that takes long."""
        self._outbox.put_nowait(None)
        await asyncio.wait([self._reader], timeout=1.0)
        self.cancel()

    def cancel(self) -> None:
        self._outbox.put_nowait(None)
        self._call.cancel()
        self._reader.cancel()

    async def _requests(self) -> AsyncIterator[pb.ClassifyStreamRequest]:
        while (request := await self._outbox.get()) is not None:
            yield request

    async def _read(self) -> None:
        try:
            async for response in self._call:
                self._inbox.put_nowait(Received(self, response))
            self._inbox.put_nowait(Ended(self, None))
        except grpc.RpcError as error:
            self._inbox.put_nowait(Ended(self, errors.from_rpc(error)))


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
    stream: _Stream | None = None
    try:
        while True:
            while (result := many.ready()) is not None:
                yield result
                room.release()
                many.resumed(time.monotonic())
            if many.finished:
                if stream is not None:
                    await stream.finish()
                return
            for request in many.sendable(time.monotonic()):
                stream = stream or _Stream(open_call, inbox)
                stream.send(request)
            try:
                event = await asyncio.wait_for(inbox.get(), many.wait(time.monotonic()))
            except asyncio.TimeoutError:
                continue
            if many.handle(event, stream, time.monotonic()):
                stream = None
    finally:
        source.cancel()
        if stream is not None:
            stream.cancel()
