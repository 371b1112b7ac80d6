"""When to try again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass

import grpc

from .errors import KoSentimentError


@dataclass(frozen=True)
class Retry:
    """How failed calls are repeated. All calls are safe to repeat: they compute and change nothing.

    A call is repeated if no server could be reached or the connection to it broke (UNAVAILABLE, or a proxy's reset),
    or if the server is full and says when to come back (RESOURCE_EXHAUSTED with RetryInfo). Never beyond the call's
    deadline.
    """

    attempts: int = 6
    """Maximum attempts, the first one included; 1 turns retries off."""
    first_delay: float = 0.2
    """Seconds before the second attempt, doubled for each one after, where the server names no delay."""
    max_delay: float = 5.0
    """Maximum of that delay in seconds. A delay that the server names is never shortened."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_delay < 0 or self.max_delay < 0:
            raise ValueError(f"{self} makes no sense; give at least 1 attempt and no negative delays")

    def delay(self, error: KoSentimentError, attempt: int, time_left: float | None = None) -> float | None:
        """Seconds to wait after the `attempt`-th attempt failed, the first being 1, or None to give up."""
        if attempt >= self.attempts:
            return None
        if error.retry_delay is not None:
            # Later by up to a quarter: many clients were given the same delay.
            wait = error.retry_delay * random.uniform(1.0, 1.25)
        elif error.code is grpc.StatusCode.UNAVAILABLE or is_reset(error):
            wait = self.backoff(attempt)
        else:
            return None
        return None if time_left is not None and wait >= time_left else wait

    def item_delay(self, error: KoSentimentError, attempt: int) -> float | None:
        """The same for one item of a stream, whose error carries no delay."""
        again = error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
        return self.backoff(attempt) if again and attempt < self.attempts else None

    def backoff(self, attempt: int) -> float:
        """Exponential, the upper half of it at random."""
        longest = min(self.max_delay, self.first_delay * 2.0 ** min(attempt - 1, 30))
        return longest * random.uniform(0.5, 1.0)


def is_reset(error: KoSentimentError) -> bool:
    """A proxy lost the server after the response began: it can only reset the stream, which gRPC calls INTERNAL."""
    return error.code is grpc.StatusCode.INTERNAL and not error.reason and "RST_STREAM with error code 2" in error.message
