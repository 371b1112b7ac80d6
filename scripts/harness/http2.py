"""HTTP/2 by hand: frames that no library would send, and a caller that needs none. Standard library only."""

import contextlib
import socket
import struct
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
SERVICE = b"/ko_sentiment.v1.SentimentService/"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text_length(length):
    """A length of HPACK, of a text that is not Huffman-coded."""
    if length < 127:
        return bytes([length])
    rest, more = length - 127, bytearray([127])
    while rest >= 128:
        more.append(rest % 128 + 128)
        rest //= 128
    return bytes([*more, rest])


def literal(name, value):
    """A header that goes into no table."""
    return b"\0" + text_length(len(name)) + name + text_length(len(value)) + value


def call_headers(method, *more):
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", SERVICE + method), (b":authority", b"localhost")]
    fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers"), *more]
    return b"".join(literal(name, value) for name, value in fields)


def prefixed(message, compressed=False):
    """A message as gRPC sends it."""
    return bytes([compressed]) + struct.pack(">I", len(message)) + message


def message(text):
    """A ClassifyRequest with its gRPC prefix."""
    raw = text.encode()
    return prefixed(b"\x0a" + text_length(len(raw)) + raw)


class Connection:
    """An HTTP/2 connection whose frames a thread reads: windows, pings, and which calls have ended."""

    def __init__(self, address, settings=b""):
        self.socket = socket.create_connection(address, 10)
        self.lock = threading.Condition()
        self.window, self.initial, self.streams, self.ended, self.open = 65535, 65535, {}, {}, True
        self.goaway, self.received = None, 0
        grow = struct.pack(">I", (1 << 31) - 1 - 65535)
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, grow))
        threading.Thread(target=self.read, daemon=True).start()

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        # The reader holds the socket until it is woken.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def vanish(self):
        """Ends as a process that is killed with data unread: with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)
        self.wait_for(lambda: not self.open, 5)
        self.socket.close()

    def wait_for(self, check, seconds):
        """Waits for something that the reader brings about; whether it came about."""
        with self.lock:
            return self.lock.wait_for(check, seconds)

    def has_ended(self, stream):
        """The stream has ended, or nothing more can come."""
        return self.ended.get(stream, (False, False))[1] or not self.open

    def read(self):
        try:
            with self.socket.makefile("rb") as stream:
                while len(head := stream.read(9)) == 9:
                    payload = stream.read(int.from_bytes(head[:3], "big"))
                    self.receive(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        except (OSError, ValueError):
            pass
        with self.lock:
            self.open = False
            self.lock.notify_all()

    def receive(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            with self.lock:
                for at in range(0, len(payload), 6):
                    name, value = struct.unpack_from(">HI", payload, at)
                    if name == 4:
                        self.streams = {s: w + value - self.initial for s, w in self.streams.items()}
                        self.initial = value
                self.lock.notify_all()
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            with self.lock:
                size = int.from_bytes(payload, "big")
                if stream == 0:
                    self.window += size
                else:
                    self.streams[stream] = self.streams.get(stream, self.initial) + size
                self.lock.notify_all()
        elif kind == GOAWAY:
            with self.lock:
                self.goaway = int.from_bytes(payload[4:8], "big")
                self.lock.notify_all()
        elif kind == RST_STREAM or kind in (DATA, HEADERS):
            with self.lock:
                self.received += len(payload) if kind == DATA else 0
                answered, _ = self.ended.get(stream, (False, False))
                answered |= kind == DATA
                self.ended[stream] = (answered, kind == RST_STREAM or bool(flags & END_STREAM))
                self.lock.notify_all()

    def send_data(self, stream, data, seconds):
        """Sends as much as the windows allow within that time; returns the bytes sent."""
        sent, until = 0, time.monotonic() + seconds
        while sent < len(data):
            with self.lock:
                room = min(self.window, self.streams.setdefault(stream, self.initial), 16384, len(data) - sent)
                ended = self.has_ended(stream)
                if room <= 0 and not ended:
                    if time.monotonic() > until:
                        return sent
                    self.lock.wait(0.1)
                    continue
                if ended:
                    return sent
                self.window -= room
                self.streams[stream] -= room
            self.send(frame(DATA, 0, stream, data[sent : sent + room]))
            sent += room
        return sent


class Good:
    """A client that classifies one comment after the other."""

    def __init__(self, address):
        self.address, self.connection, self.next, self.count = address, Connection(address), 1, 0

    def call(self):
        self.count += 1
        begun, stream = time.monotonic(), self.next
        self.next += 2
        body = message(f"영상 정말 재미있게 봤어요 {self.count}")
        self.connection.send(
            frame(HEADERS, END_HEADERS, stream, call_headers(b"Classify")) + frame(DATA, END_STREAM, stream, body)
        )
        with self.connection.lock:
            self.connection.lock.wait_for(lambda: self.connection.has_ended(stream), 60)
            answered, done = self.connection.ended.pop(stream, (False, False))
        if not (answered and done):
            raise AssertionError("a good call failed")
        return (time.monotonic() - begun) * 1000

    def window(self, seconds):
        until, times = time.monotonic() + seconds, []
        while time.monotonic() < until or len(times) < 5:
            times.append(self.call())
        return times
