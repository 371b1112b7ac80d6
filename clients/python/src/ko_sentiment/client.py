"""The blocking client."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import grpc

from . import errors, frames, many_sync, results
from .connection import Connection, Tls, Token, is_unix
from .many import ManyOptions
from .results import Classification, Done, Item, ModelInfo, Result
from .retry import Retry
from .v1 import sentiment_pb2 as pb
from .v1 import sentiment_pb2_grpc as rpc
from .video import Video, to_pb

T = TypeVar("T")
DEFAULT_TIMEOUT = 60.0
DEFAULT_WINDOW = 256


class Client:
    """Calls a ko-sentiment server; safe to share between threads. Close it, or use it in a `with` block.

    Args:
        endpoint: ``host:port``, ``unix:/path`` or another gRPC target.
        tls: How to encrypt; None sends plaintext.
        token: The bearer token, or a function that returns it before each call.
        allow_plaintext_token: Send the token without `tls` to another machine, where the network encrypts.
        timeout: Deadline of each call in seconds, with all its retries.
        retry: When to repeat a failed call.

    Every method raises KoSentimentError.
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
            self._channel = grpc.insecure_channel(endpoint, options)
        else:
            self._channel = grpc.secure_channel(endpoint, tls.credentials(), options)
        self._stub: Any = rpc.SentimentServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls and the connection."""
        self._channel.close()

    def classify(
        self, comment: str, *, video: Video | None = None, reproducible: bool = False, timeout: float | None = None
    ) -> Classification:
        """Returns the sentiment of one comment."""
        request = pb.ClassifyRequest(comment=comment, video=to_pb(video), reproducible=reproducible)
        metadata = self._connection.metadata(video)
        return results.classification(
            self._retrying(lambda left: self._stub.Classify(request, timeout=left, metadata=metadata), timeout)
        )

    def classify_many(
        self,
        items: Iterable[str | Item],
        *,
        video: Video | None = None,
        ordered: bool = True,
        window: int = DEFAULT_WINDOW,
        timeout: float | None = None,
        routed: bool | None = None,
    ) -> Iterator[Result]:
        """Yields a result per comment, over one stream per video, however many comments there are.

        A comment that cannot be classified has an error in its result. A broken stream is opened again, and
        what had no result yet is sent again.

        Args:
            items: The comments. Taken in a thread of its own, at most `window` ahead of the results.
            video: The video of all items that name none.
            ordered: Keep the order of `items`; otherwise results come as they finish, with their index.
            window: Maximum items in flight or waiting for an earlier one's result.
            timeout: Seconds without any result after which a stream has failed; None takes the client's.
            routed: Send one stream per video, with the header that routes it; otherwise one stream with the
                header of `video`. None routes unless the endpoint is a Unix socket.
        """
        connection = self._connection
        routed = not is_unix(connection.endpoint) if routed is None else routed
        options = ManyOptions(video, ordered, window, timeout or connection.timeout, connection.retry, routed)

        def open_call(key: str | None, requests: Iterator[pb.ClassifyStreamRequest]) -> Any:
            return self._stub.ClassifyStream(requests, metadata=connection.routed(key))

        return many_sync.run(open_call, items, options)

    def reason(
        self,
        comment: str,
        *,
        video: Video | None = None,
        max_tokens: int = 0,
        temperature: float = 0.0,
        seed: int = 0,
        free_answer: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Classification | str | Done]:
        """Yields the verdict, then the reasons piece by piece, then `Done`.

        With `free_answer` the verdict comes after the text. Close the iterator to stop early. A failed call is
        repeated only before its first event.

        Args:
            max_tokens: Maximum tokens to generate; 0 means 1,024.
            temperature: 0 takes the most probable token each time; maximum 2.
            seed: Seed of the sampling.
            timeout: Deadline of the whole call in seconds; None takes the client's.
        """
        request = pb.StreamReasonRequest(
            comment=comment,
            video=to_pb(video),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            free_answer=free_answer,
        )
        metadata = self._connection.metadata(video)

        def begin(left: float) -> tuple[Any, pb.StreamReasonResponse]:
            call = self._stub.StreamReason(request, timeout=left, metadata=metadata)
            return call, next(call)

        call, first = self._retrying(begin, timeout)
        try:
            for response in itertools.chain([first], call):
                event = results.reason_event(response)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        finally:
            call.cancel()

    def model_info(self, *, timeout: float | None = None) -> ModelInfo:
        """Returns which model answers, and the limits on what it takes."""
        request, metadata = pb.GetModelInfoRequest(), self._connection.metadata(None)
        return results.model_info(
            self._retrying(lambda left: self._stub.GetModelInfo(request, timeout=left, metadata=metadata), timeout)
        )

    def annotate(
        self,
        df: frames.Frame,
        *,
        text: str,
        title: str | None = None,
        summary: str | None = None,
        video_id: str | None = None,
    ) -> frames.Frame:
        """Returns a pandas or polars DataFrame with the columns label (the model's word, such as 긍정),
        probability, positive, neutral, negative, abstained and error.

        Where `df` has such a column already, ours is called ``predicted_label`` and so on. Rows without a
        sentiment have the reason in `error`; nothing else stops.

        Args:
            text: The column with the comments.
            title: The column with the videos' titles, if there is one; `summary` and `video_id` likewise.
        """
        sheet = frames.Sheet(df, frames.Columns(text, title, summary, video_id))
        labels = self.model_info().labels
        for result in self.classify_many(sheet.items(), ordered=False):
            sheet.take(result, labels)
        annotated: frames.Frame = sheet.annotated()
        return annotated

    def _retrying(self, call: Callable[[float], T], timeout: float | None) -> T:
        """Repeats `call`, which is given the seconds that are left."""
        deadline = time.monotonic() + (timeout or self._connection.timeout)
        for attempt in itertools.count(1):
            try:
                return call(max(0.0, deadline - time.monotonic()))
            except grpc.RpcError as error:
                failed = errors.from_rpc(error)
                wait = self._connection.retry.delay(failed, attempt, deadline - time.monotonic())
                if wait is None:
                    raise failed from error
            time.sleep(wait)
        raise AssertionError("unreachable")
