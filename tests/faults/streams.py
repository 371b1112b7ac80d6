"""Clients that leave, read slowly or write slowly."""

import struct
import threading
import time

from harness.calls import Caller, batch, grpc, item, reasons
from harness.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, Connection, call_headers, frame, message, prefixed
from harness.server import wait_until

from .ground import answers_meanwhile, fault, is_fine, running

TEXT = "처음부터 끝까지 정말 재미있게 봤어요. 다음 편도 기다릴게요"


def begin(server, method: bytes, data: bytes, window: int | None = None) -> Connection:
    """A call on a connection of its own, whose answers may have so many bytes at a time."""
    settings = b"" if window is None else struct.pack(">HI", 4, window)
    connection = Connection(server.address, settings)
    connection.send(frame(HEADERS, END_HEADERS, 1, call_headers(method)))
    connection.send_data(1, data, 30)
    connection.send(frame(DATA, END_STREAM, 1))
    return connection


def held(server) -> float:
    """Cells that running calls hold."""
    return server.metric("ko_sentiment_kv_cells_used") - server.metric("ko_sentiment_kv_cells_evictable")


@fault("client vanishes mid-stream", "its job ends within 5 s, its KV cells are free, others are answered")
def vanishes(ground):
    server = ground.server
    wait_until("the server is idle", lambda: running(server) == 0)
    before, slowest = held(server), 0.0

    def vanish():
        nonlocal slowest
        for method, data in ((b"StreamReason", reasons(TEXT, 4000)), (b"ClassifyBatch", batch([TEXT] * 300))):
            clients = [begin(server, method, prefixed(data)) for _ in range(4)]
            if method == b"StreamReason":
                assert all(client.wait_for(lambda c=client: c.received > 0, 60) for client in clients), "no verdict"
            for client in clients:
                client.vanish()
            begun = time.monotonic()
            # The good caller has one job at a time.
            wait_until(f"the jobs of {method.decode()} end", lambda: running(server) <= 1, 5)
            slowest = max(slowest, time.monotonic() - begun)

    answers_meanwhile(server, vanish)
    is_fine(server)
    wait_until("the cells are free", lambda: held(server) <= before)
    return f"jobs ended after {slowest:.1f} s"


@fault("slow reader", "a stream that nobody reads holds up no step; it is cut, or freed when its client ends")
def slow_reader(ground):
    server = ground.server

    def hold():
        # Not a byte of the answer may be sent, but pings are answered.
        readers = [begin(server, b"StreamReason", prefixed(reasons(TEXT, 4000)), window=0) for _ in range(8)]
        time.sleep(3 if ground.short else 15)
        cut = sum(reader.has_ended(1) for reader in readers)
        assert not any(reader.received for reader in readers)
        for reader in readers:
            reader.close()
        return cut

    cut = answers_meanwhile(server, hold)
    is_fine(server)
    return f"8 streams unread, {cut} cut by then"


@fault("streams written faster than read", "short messages without a pause wait for the server; the connection stays")
def fast_writer(ground):
    # A writer that shares its processor may answer a ping later than the shared server waits.
    with ground.serve() as server:
        return write_fast(server, 3 if ground.short else 10)


def write_fast(server, seconds):
    endings = []

    def write(client, number):
        items = (item(str(i), f"좋아요 {number} {i}") for i in range(10**7))
        answered = 0
        try:
            for _ in client.stream(items, timeout=seconds):
                answered += 1
        except grpc.RpcError as error:
            endings.append((error.code().name, answered))

    def hold():
        for streams in (1, 16):
            with Caller(server.target) as client:
                threads = [threading.Thread(target=write, args=(client, i), daemon=True) for i in range(streams)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)

    answers_meanwhile(server, hold)
    assert len(endings) == 17 and {code for code, _ in endings} == {"DEADLINE_EXCEEDED"}, endings[:3]
    is_fine(server)
    return f"{sum(answered for _, answered in endings)} comments answered on 17 streams, each until its deadline"


@fault("slow writer", "a message that comes in drops is answered; one that stops arriving ends its call")
def slow_writer(ground):
    server, data = ground.server, message(TEXT)

    def write():
        drops = Connection(server.address)
        drops.send(frame(HEADERS, END_HEADERS, 1, call_headers(b"Classify")))
        stops = Connection(server.address)
        stops.send(frame(HEADERS, END_HEADERS, 1, call_headers(b"Classify")) + frame(DATA, 0, 1, data[:20]))
        begun = time.monotonic()
        for at in range(0, len(data), 4):
            drops.send(frame(DATA, 0, 1, data[at : at + 4]))
            time.sleep(0.1)
        drops.send(frame(DATA, END_STREAM, 1))
        assert stops.wait_for(lambda: stops.has_ended(1), 20), "a message that stopped arriving holds its call"
        after = time.monotonic() - begun
        assert drops.wait_for(lambda: drops.has_ended(1), 30) and drops.ended[1][0], "drops are not answered"
        for connection in (drops, stops):
            connection.close()
        return after

    after = answers_meanwhile(server, write)
    is_fine(server)
    return f"ended after {after:.1f} s"
