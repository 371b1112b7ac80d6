"""Servers that are told to stop, or are killed, while clients call."""

import signal
import threading
import time

from harness.calls import Caller, Load, parts
from harness.server import wait_until

from .ground import fault, is_fine

# A client that finds a restarted server soon.
RECONNECT = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


def busy(load: Load, server) -> None:
    wait_until("the callers are answered", lambda: len(load.times) >= load.callers or server.process.poll() is not None, 60)
    assert not load.failures, load.failures[:3]


@fault("SIGTERM under load", "running calls finish, new ones get UNAVAILABLE, exit code 0 within the grace time")
def terminated(ground):
    with ground.serve("--grace-seconds", 60) as server:
        load, last = Load(lambda _: Caller(server.target), callers=8), []
        events = Caller(server.target).reason("길게 설명해 주세요", 48)
        next(events)
        thread = threading.Thread(target=lambda: last.extend(events), daemon=True)
        busy(load, server)
        thread.start()
        begun = time.monotonic()
        code = server.stop(70)
        after = time.monotonic() - begun
        thread.join(10)
        calls = load.end()
        assert code == 0, f"exit code {code}"
        assert last and 3 in parts(last[-1]), "the stream was cut"
        wrong = [failure for failure in load.failures if failure[0] != "UNAVAILABLE"]
        assert not wrong, f"{len(wrong)} calls failed otherwise: {wrong[:3]}"
    return f"exit code 0 after {after:.1f} s; {calls} calls answered, the stream too"


@fault("SIGKILL under load", "clients get UNAVAILABLE, no other code; a new server takes port and stale socket at once")
def killed(ground):
    socket = ground.folder / "killed.sock"
    unix = ("--listen", f"unix:{socket}")
    first = ground.serve(*unix)
    address = first.target
    load = Load(lambda i: Caller(f"unix:{socket}" if i % 2 else address, options=RECONNECT), callers=8)
    try:
        busy(load, first)
        first.process.send_signal(signal.SIGKILL)
        assert first.process.wait(10) == -signal.SIGKILL
        first.watching = False
        begun = time.monotonic()
        with ground.serve(*unix, listen=address) as second:
            before = len(load.times)
            wait_until("all callers are answered again", lambda: len(load.times) >= before + 4 * load.callers, 60)
            after = time.monotonic() - begun
            load.end()
            codes = {failure[0] for failure in load.failures}
            assert codes <= {"UNAVAILABLE"}, codes
            is_fine(second)
    finally:
        load.end()
        if first.process.poll() is None:
            first.kill()
    assert not socket.exists(), "the socket is left behind"
    return f"served again {after:.1f} s after the kill"
