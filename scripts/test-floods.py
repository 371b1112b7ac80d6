#!/usr/bin/env python3
"""Floods a server of its own and measures its memory and the latency of good calls, with and without the flood.

    scripts/test-floods.py [--binary FILE] [--model FILE] [--short]

Standard library only. Prints one row per flood: memory before, at its peak and after, in MiB, and the median and the
99th percentile of good calls in milliseconds, in pairs of a quiet and a flooded window that follow each other.
Fails if a good call fails, if the median more than doubles, or if memory grows by more than 400 MiB.
"""
import argparse
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
SERVICE = b"/ko_sentiment.v1.SentimentService/"
MIB = 1 << 20


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header that goes into no table; both parts are shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call_headers(method):
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", SERVICE + method), (b":authority", b"localhost")]
    fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    return b"".join(literal(name, value) for name, value in fields)


def message(text):
    """A ClassifyRequest with its gRPC prefix."""
    raw = text.encode()
    field = b"\x0a" + bytes([len(raw)]) + raw
    return b"\0" + struct.pack(">I", len(field)) + field


class Connection:
    """An HTTP/2 connection whose frames a thread reads: windows, pings, and which calls have ended."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, 10)
        self.lock = threading.Condition()
        self.window, self.initial, self.streams, self.ended, self.open = 65535, 65535, {}, {}, True
        grow = struct.pack(">I", (1 << 31) - 1 - 65535)
        self.send(PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW_UPDATE, 0, 0, grow))
        threading.Thread(target=self.read, daemon=True).start()

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

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
        elif kind == RST_STREAM or kind in (DATA, HEADERS):
            with self.lock:
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
                ended = self.ended.get(stream, (False, False))[1] or not self.open
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
            ended = lambda: self.connection.ended.get(stream, (False, False))[1] or not self.connection.open
            self.connection.lock.wait_for(ended, 60)
            answered, done = self.connection.ended.pop(stream, (False, False))
        if not (answered and done):
            raise SystemExit("a good call failed during the flood")
        return (time.monotonic() - begun) * 1000

    def window(self, seconds):
        until, times = time.monotonic() + seconds, []
        while time.monotonic() < until or len(times) < 5:
            times.append(self.call())
        return times


class Flood:
    """What is held against the server; `notes` says what became of it."""

    def __init__(self, address, size):
        self.address, self.size, self.held, self.notes, self.stopped = address, size, [], "", False
        self.thread = threading.Thread(target=self.guarded, daemon=True)
        self.thread.start()

    def guarded(self):
        try:
            self.run()
        except OSError as error:
            self.notes += f" {error}"

    def end(self):
        self.stopped = True
        for held in self.held:
            held.close()
        self.thread.join(30)


class Calls(Flood):
    name = "calls on one connection"

    def run(self):
        """Calls that are begun and send nothing, on a new connection where the server closes one."""
        block, sent, connections = call_headers(b"ClassifyStream"), 0, 0
        while sent < self.size and not self.stopped:
            connection = Connection(self.address)
            connections += 1
            self.held.append(connection)
            stream = 1
            try:
                while sent < self.size and connection.open and not self.stopped:
                    batch = range(stream, stream + 200, 2)
                    connection.send(b"".join(frame(HEADERS, END_HEADERS, s, block) for s in batch))
                    sent, stream = sent + 100, stream + 200
            except OSError:
                pass
        self.notes = f"{sent} calls, {connections} connections"


class Silent(Flood):
    name = "silent connections"

    def run(self):
        for _ in range(self.size):
            self.held.append(socket.create_connection(self.address, 10))
        self.notes = f"{len(self.held)} connections"


class Unfinished(Flood):
    name = "unfinished messages of 4 MiB"

    def run(self):
        """Messages that announce 4 MiB and stop a byte before, 20 on a connection, several at a time."""
        lengths, threads = [], []

        def hold(count):
            connection = Connection(self.address)
            self.held.append(connection)
            for stream in range(1, 2 * count, 2):
                connection.send(frame(HEADERS, END_HEADERS, stream, call_headers(b"ClassifyBatch")))
                body = b"\0" + struct.pack(">I", 4 * MIB) + b"\x0a" * (4 * MIB - 1)
                lengths.append(connection.send_data(stream, body, 2))

        for start in range(0, self.size, 20):
            threads.append(threading.Thread(target=hold, args=(min(20, self.size - start),), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        self.notes = f"{len(lengths)} messages, {sum(lengths) / MIB:.0f} MiB sent"


class Server:
    def __init__(self, binary, model, unfinished):
        command = [binary, "serve", "--model", model, "--listen", "127.0.0.1:0", "--log-format", "json"]
        command += ["--answer-cache-mib", "0", "--max-unfinished-mib", str(unfinished)]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KO_SENTIMENT_")}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ours)
        self.address, self.peak, self.running = None, 0, True
        for line in self.process.stderr:
            if address := json.loads(line).get("address") if line.startswith("{") else print(line, end="", file=sys.stderr):
                host, port = address.rsplit(":", 1)
                self.address = (host, int(port))
                break
        if not self.address:
            raise SystemExit("the server does not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        threading.Thread(target=self.watch, daemon=True).start()

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    def watch(self):
        while self.running:
            try:
                self.peak = max(self.peak, self.rss())
            except (OSError, StopIteration):
                return
            time.sleep(0.05)

    def stop(self):
        self.running = False
        self.process.terminate()
        self.process.wait(60)


def measure(server, kind, size, seconds, rounds):
    good = Good(server.address)
    good.window(seconds)
    before, server.peak, quiet, flooded, notes = server.rss(), 0, [], [], ""
    for _ in range(rounds):
        quiet += good.window(seconds)
        flood = kind(server.address, size)
        flooded += good.window(seconds)
        flood.thread.join(120)
        flooded += good.window(1)
        notes = flood.notes
        flood.end()
    time.sleep(3)
    good.connection.close()
    row = {"flood": f"{size} {kind.name}", "before": before, "peak": server.peak, "after": server.rss()}
    for name, times in (("quiet", quiet), ("flooded", flooded)):
        row[f"{name}_p50"] = statistics.median(times)
        row[f"{name}_p99"] = sorted(times)[int(len(times) * 0.99)]
    return row | {"notes": notes}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/ko-sentiment")
    parser.add_argument("--model", default="models/ko-gemma3-270m-sentiment.gguf")
    parser.add_argument("--short", action="store_true", help="small floods, and no verdict on times")
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    floods = [(Calls, 100_000), (Silent, 2_000), (Unfinished, 200)]
    seconds, rounds, unfinished, growth = 8, 3, 256, 400
    if args.short:
        floods = [(Calls, 2_000), (Silent, 40), (Unfinished, 60)]
        seconds, rounds, unfinished, growth = 0.5, 1, 48, 140
    columns = ("before", "peak", "after", "quiet_p50", "flooded_p50", "quiet_p99", "flooded_p99")
    print(f"{'':40}" + "".join(f"{name:>13}" for name in columns), flush=True)
    faults = []
    for kind, size in floods:
        server = Server(args.binary, args.model, unfinished)
        try:
            row = measure(server, kind, size, seconds, rounds)
        finally:
            server.stop()
        print(f"{row['flood']:40}" + "".join(f"{row[name]:>13.1f}" for name in columns), row["notes"], flush=True)
        if row["peak"] - row["before"] > growth:
            faults.append(f"{row['flood']}: memory grew by {row['peak'] - row['before']:.0f} MiB")
        if not args.short and row["flooded_p50"] > 2 * row["quiet_p50"]:
            faults.append(f"{row['flood']}: good calls take {row['flooded_p50'] / row['quiet_p50']:.1f} times as long")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
