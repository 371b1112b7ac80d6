"""The asyncio client."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio

from . import errors, frames, many_async, results
from .client import DEFAULT_TIMEOUT, DEFAULT_WINDOW
from .connection import Connection, Tls, Token, is_unix
from .many import ManyOptions
from .results import Classification, Done, ModelInfo, Result
from .retry import Retry
from .v1 import sentiment_pb2 as pb
from .v1 import sentiment_pb2_grpc as rpc
from .video import Video, to_pb

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same arguments, and methods to await or to iterate with `async for`.

    Make it where its event loop runs. Cancelling a task cancels its call on the server.
    """

    def __init__(
        self,
        endpoint: str = "localhost:50051",
        *,
        tls: Tls | None = None,
        token: Token = None,
        allow_plaintext_token: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
        retry: Retry = Retry(),
    ) -> None:
        self._connection = Connection(endpoint, tls, token, allow_plaintext_token, timeout, retry)
        options = self._connection.options
        if tls is None:
            self._channel = grpc.aio.insecure_channel(endpoint, options)
        else:
            self._channel = grpc.aio.secure_channel(endpoint, tls.credentials(), options)
        self._stub: Any = rpc.SentimentServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all calls and the connection."""
        await self._channel.close()

    async def classify(
        self, comment: str, *, video: Video | None = None, reproducible: bool = False, timeout: float | None = None
    ) -> Classification:
        """Returns the sentiment of one comment."""
        request = pb.ClassifyRequest(comment=comment, video=to_pb(video), reproducible=reproducible)
        metadata = self._connection.metadata(video)
        return results.classification(
            await self._retrying(lambda left: self._stub.Classify(request, timeout=left, metadata=metadata), timeout)
        )

    def classify_many(
        self,
        items: many_async.Items,
        *,
        video: Video | None = None,
        ordered: bool = True,
        window: int = DEFAULT_WINDOW,
        timeout: float | None = None,
        routed: bool | None = None,
    ) -> AsyncIterator[Result]:
        """Yields a result per comment; see `Client.classify_many`. `items` may be an async iterable."""
        connection = self._connection
        routed = not is_unix(connection.endpoint) if routed is None else routed
        options = ManyOptions(video, ordered, window, timeout or connection.timeout, connection.retry, routed)

        def open_call(key: str | None, requests: AsyncIterator[pb.ClassifyStreamRequest]) -> Any:
            return self._stub.ClassifyStream(requests, metadata=connection.routed(key))

        return many_async.run(open_call, items, options)

    async def reason(
        self,
        comment: str,
        *,
        video: Video | None = None,
        max_tokens: int = 0,
        temperature: float = 0.0,
        seed: int = 0,
        free_answer: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[Classification | str | Done]:
        """Yields the verdict, then the reasons piece by piece, then `Done`; see `Client.reason`."""
        request = pb.StreamReasonRequest(
            comment=comment,
            video=to_pb(video),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            free_answer=free_answer,
        )
        metadata = self._connection.metadata(video)

        async def begin(left: float) -> tuple[Any, pb.StreamReasonResponse]:
            call = self._stub.StreamReason(request, timeout=left, metadata=metadata)
            return call, await anext(aiter(call))

        call, first = await self._retrying(begin, timeout)
        try:
            event = results.reason_event(first)
            if event is not None:
                yield event
            async for response in call:
                event = results.reason_event(response)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        finally:
            call.cancel()

    async def model_info(self, *, timeout: float | None = None) -> ModelInfo:
        """Returns which model answers, and the limits on what it takes."""
        request, metadata = pb.GetModelInfoRequest(), self._connection.metadata(None)
        return results.model_info(
            await self._retrying(
                lambda left: self._stub.GetModelInfo(request, timeout=left, metadata=metadata), timeout
            )
        )

    async def annotate(
        self,
        df: frames.Frame,
        *,
        text: str,
        title: str | None = None,
        summary: str | None = None,
        video_id: str | None = None,
    ) -> frames.Frame:
        """Returns the DataFrame with our columns added; see `Client.annotate`."""
        sheet = frames.Sheet(df, frames.Columns(text, title, summary, video_id))
        labels = (await self.model_info()).labels
        async for result in self.classify_many(sheet.items(), ordered=False):
            sheet.take(result, labels)
        annotated: frames.Frame = sheet.annotated()
        return annotated

    async def _retrying(self, call: Callable[[float], Awaitable[T]], timeout: float | None) -> T:
        """Repeats `call`, which is given the seconds that are left."""
        deadline = time.monotonic() + (timeout or self._connection.timeout)
        for attempt in itertools.count(1):
            try:
                return await call(max(0.0, deadline - time.monotonic()))
            except grpc.RpcError as error:
                failed = errors.from_rpc(error)
                wait = self._connection.retry.delay(failed, attempt, deadline - time.monotonic())
                if wait is None:
                    raise failed from error
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")
