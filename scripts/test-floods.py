#!/usr/bin/env python3
"""Floods a server of its own and measures its memory and the latency of good calls, with and without the flood.

    scripts/test-floods.py [--binary FILE] [--model FILE] [--short]

Standard library only. Prints one row per flood: memory before, at its peak and after, in MiB, and the median and the
99th percentile of good calls in milliseconds, in pairs of a quiet and a flooded window that follow each other.
Fails if a good call fails, if the median more than doubles, or if memory grows by more than 400 MiB.
"""
import argparse
import resource
import socket
import statistics
import struct
import sys
import threading
import time

from harness import BINARY, MIB, MODEL
from harness.http2 import END_HEADERS, HEADERS, Connection, Good, call_headers, frame
from harness.server import Server


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


def measure(server, kind, size, seconds, rounds):
    good = Good(server.address)
    good.window(seconds)
    server.watch(server.rss)
    before, quiet, flooded, notes = server.rss(), [], [], ""
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
    parser.add_argument("--binary", default=BINARY)
    parser.add_argument("--model", default=MODEL)
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
        flags = ("--answer-cache-mib", 0, "--max-unfinished-mib", unfinished)
        with Server(args.binary, args.model, *flags) as server:
            row = measure(server, kind, size, seconds, rounds)
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
