"""The one error that calls raise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

CODES = {code.value[0]: code for code in grpc.StatusCode}


class KoSentimentError(Exception):
    """A call or an item failed.

    `code` is the gRPC status, `reason` the server's word for the cause, such as ``OVERLOADED`` (empty if the
    server gave none), `retry_delay` the seconds after which a retry may succeed, and `fields` what is wrong
    with each rejected field.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        retry_delay: float | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.reason = reason
        self.retry_delay = retry_delay
        self.fields = fields or {}

    def __str__(self) -> str:
        cause = f"{self.code.name} ({self.reason})" if self.reason else self.code.name
        return f"{cause}: {self.message}"


def from_item(code: int, message: str) -> KoSentimentError:
    """One item's error in a stream."""
    return KoSentimentError(CODES.get(code, grpc.StatusCode.UNKNOWN), message)


def from_rpc(error: Any) -> KoSentimentError:
    """A failed call's error, with the details that came with it."""
    failed = KoSentimentError(error.code() or grpc.StatusCode.UNKNOWN, error.details() or "no message")
    for detail in _details(error.trailing_metadata() or ()):
        info = error_details_pb2.ErrorInfo()
        retry = error_details_pb2.RetryInfo()
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(info):
            failed.reason = info.reason
        elif detail.Unpack(retry):
            failed.retry_delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif detail.Unpack(bad):
            failed.fields = {fault.field: fault.description for fault in bad.field_violations}
    return failed


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> Iterable[Any]:
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status = status_pb2.Status()
            with contextlib.suppress(ValueError):  # another program's bytes
                status.ParseFromString(value)
            return list(status.details)
    return ()
