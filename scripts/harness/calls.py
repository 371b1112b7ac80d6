"""Callers over grpcio, from `.python`, with messages written by hand: nothing is generated."""

import sys
import threading
import time
from dataclasses import dataclass, field

from . import ROOT

sys.path.insert(0, str(ROOT / ".python"))
try:
    import grpc
except ImportError:
    sys.exit("error: grpcio is missing; run `make .python/.stamp`, which fetches it")

SERVICE = "/ko_sentiment.v1.SentimentService/"
# Each channel has connections of its own, as separate processes have.
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def part(number: int, value: bytes | str | int) -> bytes:
    """A field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def parts(message: bytes) -> dict[int, list]:
    """The fields of a message, undecoded."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            value = number()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or number()
            value, at = message[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def comment(text: str | bytes) -> bytes:
    """A ClassifyRequest."""
    return part(1, text)


def reasons(text: str, max_tokens: int) -> bytes:
    """A StreamReasonRequest."""
    return part(1, text) + part(3, max_tokens)


def batch(texts) -> bytes:
    """A ClassifyBatchRequest."""
    return b"".join(part(1, text) for text in texts)


def item(name: str, text: str) -> bytes:
    """A ClassifyStreamRequest."""
    return part(1, name) + part(2, comment(text))


def prompt_tokens(answer: bytes) -> int:
    """From a ClassifyResponse."""
    return parts(parts(answer)[4][0])[1][0]


def reason_of(error: grpc.RpcError) -> str:
    """The reason of the error's ErrorInfo."""
    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    for detail in parts(raw).get(3, []):
        kind, value = (parts(detail)[i][0] for i in (1, 2))
        if kind.endswith(b"ErrorInfo"):
            return parts(value)[1][0].decode()
    return ""


class Caller:
    """A client with a channel of its own."""

    def __init__(self, target: str, token: str | None = None, credentials=None, options=()):
        options = [*OPTIONS, *options]
        if target.startswith("unix:"):
            # gRPC would send the socket's path, which is no authority for servers that check it.
            options.append(("grpc.default_authority", "localhost"))
        secure = credentials is not None
        self.channel = (
            grpc.secure_channel(target, credentials, options) if secure else grpc.insecure_channel(target, options)
        )
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def call(self, method: str, request: bytes, timeout: float | None = 60, metadata=()) -> bytes:
        return self.channel.unary_unary(SERVICE + method)(request, timeout, (*self.metadata, *metadata))

    def classify(self, text: str, timeout: float | None = 60, metadata=()) -> bytes:
        return self.call("Classify", comment(text), timeout, metadata)

    def reason(self, text: str, max_tokens: int = 32, timeout: float | None = 120):
        """The events, as they come."""
        return self.channel.unary_stream(SERVICE + "StreamReason")(reasons(text, max_tokens), timeout, self.metadata)

    def stream(self, requests, timeout: float | None = 120, metadata=()):
        """The results, as they come."""
        return self.channel.stream_stream(SERVICE + "ClassifyStream")(requests, timeout, (*self.metadata, *metadata))

    def refusal(self, method: str, request: bytes, timeout: float | None = 60, metadata=()) -> tuple[str, str]:
        """Code and reason of a call that must fail."""
        try:
            self.call(method, request, timeout, metadata)
        except grpc.RpcError as error:
            return error.code().name, reason_of(error)
        raise AssertionError(f"{method} is answered")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.channel.close()


@dataclass
class Load:
    """Callers that classify, each one comment after the other, until they are told to stop."""

    make: object  # a Caller for a number
    callers: int = 16
    # Every how many calls a caller connects anew; 0 means never.
    renew: int = 0
    pause: float = 0.0
    times: list = field(default_factory=list)
    failures: list = field(default_factory=list)

    def __post_init__(self):
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(self.callers)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int):
        caller, count = self.make(number), 0
        while not self.stopping.is_set():
            if self.renew and count and count % self.renew == 0:
                caller.channel.close()
                caller = self.make(number)
            begun = time.monotonic()
            try:
                caller.classify(f"영상 잘 봤어요 {number} {count}")
                self.times.append(time.monotonic() - begun)
            except grpc.RpcError as error:
                self.failures.append((error.code().name, reason_of(error), error.details()))
                time.sleep(0.05)
            count += 1
            self.stopping.wait(self.pause)
        caller.channel.close()

    def end(self) -> int:
        """Stops the callers; how many calls were answered."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
        return len(self.times)
