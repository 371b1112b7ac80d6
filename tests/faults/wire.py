"""Peers that speak HTTP/2 wrongly, too much, or not at all."""

import random
import socket
import struct
import time
from contextlib import suppress

from harness.calls import Caller, batch, comment, grpc, part
from harness.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Connection,
    call_headers,
    frame,
    literal,
    message,
    prefixed,
)
from harness.server import wait_until

from .ground import answers_meanwhile, fault, growth, handled, is_fine

CONTINUATION = 9
ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR = 0xB, 6
HELLO = PREFACE + frame(SETTINGS, 0, 0)


def until_closed(peer: socket.socket, data: bytes = b"") -> None:
    """Sends this, and reads until the server closes the connection."""
    with suppress(ConnectionError):
        peer.sendall(data)
        while peer.recv(65536):
            pass


def closed_after(server, data: bytes, patience: float = 20) -> float:
    """Seconds until the server closes a connection that sends this and nothing more."""
    begun = time.monotonic()
    with socket.create_connection(server.address, patience) as peer:
        try:
            until_closed(peer, data)
        except TimeoutError:
            raise AssertionError(f"a connection is still open after {patience} s") from None
    return time.monotonic() - begun


@fault("half-open connection", "a peer that answers no ping is closed within keepalive and timeout; its call is freed")
def half_open(ground):
    server = ground.server
    begun = HELLO + frame(HEADERS, END_HEADERS, 1, call_headers(b"Classify"))
    after = answers_meanwhile(server, lambda: max(closed_after(server, HELLO), closed_after(server, begun)))
    assert after < 10, f"closed after {after:.1f} s"
    is_fine(server)
    return f"closed after {after:.1f} s"


@fault("garbage bytes", "random bytes, TLS on a plain port and broken frames end their connection and no other")
def garbage(ground):
    server, source = ground.server, random.Random(7)
    hello = bytes.fromhex("16030100c8010000c40303") + source.randbytes(189)

    def send():
        for i in range(5 if ground.short else 20):
            noise = source.randbytes(source.randrange(1, 65536))
            for data in (noise, HELLO + noise, HELLO + frame(i % 10, i, i, noise[:1000]), hello):
                closed_after(server, data)

    answers_meanwhile(server, send)
    is_fine(server)
    return "all closed"


@fault("HTTP/1.1", "a request is refused at once, on the connection that it came on")
def http1(ground):
    server = ground.server
    after = closed_after(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert after < 3, f"closed after {after:.1f} s"
    is_fine(server)
    return f"closed after {after:.1f} s"


@fault("oversized frames, headers, messages", "each is refused with a code that says so; memory stays bounded")
def oversized(ground):
    server = ground.server
    before = server.anonymous()
    connection = Connection(server.address)
    with suppress(OSError):  # It may close before all of it is sent.
        connection.send(frame(DATA, 0, 1, b"\0" * (1 << 20)))
    assert connection.wait_for(lambda: not connection.open, 10) and connection.goaway in (FRAME_SIZE_ERROR, None)
    many = [(b"x-padding-%d" % i, b"x" * 1000) for i in range(15)]
    connection = Connection(server.address)
    block = call_headers(b"Classify", *many, *many)
    connection.send(frame(HEADERS, 0, 1, block[:16000]) + frame(CONTINUATION, END_HEADERS, 1, block[16000:]))
    assert connection.wait_for(lambda: connection.has_ended(1), 10), "30 kB of headers are taken"
    connection.close()
    with Caller(server.target) as client:
        for size in (41 << 20, 64 << 20):
            code, reason = client.refusal("Classify", part(1, b"a" * size))
            assert (code, reason) == ("OUT_OF_RANGE", "MESSAGE_TOO_LARGE"), (code, reason)
        code, reason = client.refusal("Classify", comment("가" * 10_001))
        assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST"), (code, reason)
    is_fine(server)
    return growth(before, server.anonymous(), 200)


def flood(server, frames, patience: float = 60):
    """Sends frames until the server ends the connection; the code of its goodbye."""
    connection, sent = Connection(server.address), 0
    try:
        for data in frames:
            connection.send(data)
            sent += 1
    except OSError:
        pass
    assert connection.wait_for(lambda: not connection.open, patience), f"still open after {sent} frames"
    code = connection.goaway
    connection.close()
    return code


@fault("rapid reset (CVE-2023-44487)", "the connection ends with ENHANCE_YOUR_CALM; other calls are answered")
def rapid_reset(ground):
    server, block = ground.server, call_headers(b"Classify")
    cancel = struct.pack(">I", 8)
    pair = lambda s: frame(HEADERS, END_HEADERS, s, block) + frame(RST_STREAM, 0, s, cancel)
    pairs = (b"".join(pair(s) for s in range(start, start + 200, 2)) for start in range(1, 400_000, 200))
    code = answers_meanwhile(server, lambda: flood(server, pairs))
    # Bytes that were on their way turn the goodbye into a reset.
    assert code in (ENHANCE_YOUR_CALM, None), code
    is_fine(server)
    return "connection ended" if code is None else "ENHANCE_YOUR_CALM"


@fault("CONTINUATION flood (CVE-2024-27316)", "the connection ends; memory stays bounded; other calls are answered")
def continuation_flood(ground):
    server = ground.server
    server.watch(server.anonymous)
    before = server.anonymous()
    first = frame(HEADERS, 0, 1, literal(b":method", b"POST"))
    more = frame(CONTINUATION, 0, 1, literal(b"x-padding", b"x" * 4000)) * 10
    frames = (first if i == 0 else more for i in range(20_000))
    answers_meanwhile(server, lambda: flood(server, frames))
    is_fine(server)
    return f"connection ended; {growth(before, server.peak, 100)}"


@fault("slowloris", "silent peers, half a preface and headers that never end are closed within the handshake's time")
def slowloris(ground):
    server = ground.server
    half_headers = HELLO + b"\0\x40\0\x01\x04\0\0\0\x01" + literal(b":method", b"POST")
    held = [socket.create_connection(server.address, 10) for _ in range(50 if ground.short else 500)]

    def slow():
        return max(closed_after(server, data) for data in (b"", PREFACE[:10], half_headers))

    after = answers_meanwhile(server, slow)
    assert after < 10, f"closed after {after:.1f} s"
    for peer in held:
        peer.settimeout(10)
        until_closed(peer)
        peer.close()
    is_fine(server)
    return f"closed after {after:.1f} s, {len(held)} silent peers too"


def bomb(size: int) -> bytes:
    import zlib

    squeeze, out = zlib.compressobj(9, wbits=31), bytearray()
    for _ in range(size >> 20):
        out += squeeze.compress(b"a" * (1 << 20))
    return bytes(out + squeeze.flush())


@fault("decompression bomb", "gzip of 1 GiB gets RESOURCE_EXHAUSTED; memory grows by less than two messages")
def decompression_bomb(ground):
    server = ground.server
    server.watch(server.anonymous)
    before, refused = server.anonymous(), handled(server, "ResourceExhausted")
    data = prefixed(bomb(256 << 20 if ground.short else 1 << 30), True)
    connection = Connection(server.address)
    connection.send(frame(HEADERS, END_HEADERS, 1, call_headers(b"ClassifyBatch", (b"grpc-encoding", b"gzip"))))
    connection.send_data(1, data, 30)
    if connection.open and not connection.has_ended(1):
        connection.send(frame(DATA, END_STREAM, 1))
    assert connection.wait_for(lambda: connection.has_ended(1), 60), "no answer"
    connection.close()
    wait_until("it is counted", lambda: handled(server, "ResourceExhausted") == refused + 1)
    is_fine(server)
    return f"{len(data) >> 10} KiB refused; {growth(before, server.peak, 100)}"


@fault("bad UTF-8", "in a message it fails that call; in headers it is neither logged raw nor fatal")
def bad_utf8(ground):
    server = ground.server
    wrong = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", "좋아요".encode()[:-1]]
    with Caller(server.target) as client:
        for raw in wrong:
            for method, request in (("Classify", comment(raw)), ("ClassifyBatch", batch([raw]))):
                code, _ = client.refusal(method, request)
                assert code in ("INTERNAL", "INVALID_ARGUMENT"), code
    for name in (b"x-request-id", b"authorization", b"traceparent", b"x-ko-sentiment-priority", b"grpc-timeout", b":path"):
        connection = Connection(server.address)
        block = call_headers(b"Classify", (name, b"\xff\xfe\x1b[31m"))
        connection.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, message("네")))
        assert connection.wait_for(lambda: connection.has_ended(1), 30), f"{name} holds the call"
        connection.close()
    assert not server.logged("\x1b"), "a control character is in the log"
    is_fine(server)
    return "each call fails alone"


@fault("clients' deadlines of 0 and of a year", "0 computes nothing, a year is taken, nonsense fails or is ignored")
def deadlines(ground):
    server = ground.server
    prefilled = lambda: server.metric("ko_sentiment_tokens_prefilled_total")

    def call(timeout: bytes) -> bool:
        """Whether the call with this `grpc-timeout` is answered with a message."""
        connection = Connection(server.address)
        block = call_headers(b"Classify", (b"grpc-timeout", timeout))
        connection.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, message("네")))
        assert connection.wait_for(lambda: connection.has_ended(1), 60), f"{timeout} is never answered"
        connection.close()
        return connection.ended[1][0] if 1 in connection.ended else False

    before = prefilled()
    assert not any(call(zero) for zero in (b"0n", b"0m", b"0S")), "a deadline of 0 is answered"
    time.sleep(0.5)
    computed = prefilled() - before
    assert computed == 0, f"{computed:.0f} tokens are computed for deadlines of 0"
    for year in (b"31536000S", b"8760H", b"99999999H", b"99999999u"):
        assert call(year), f"{year} is refused"
    for nonsense in (b"", b"S", b"-1S", b"1x", b"999999999S", b"1.5S", b"\xffS"):
        call(nonsense)
    with Caller(server.target) as client:
        client.classify("네", timeout=31_536_000)
        try:
            client.classify("네", timeout=0)
            raise AssertionError("a deadline of 0 is answered")
        except grpc.RpcError as error:
            assert error.code().name == "DEADLINE_EXCEEDED", error.code()
    is_fine(server)
    return "as they should be"
