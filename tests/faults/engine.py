"""The engine's thread: killed, stuck, panicking."""

import ctypes
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from harness import ROOT
from harness.calls import Caller, Load
from harness.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, Connection, call_headers, frame, message
from harness.server import wait_until

from .ground import Skip, fault, handled, is_fine
from .stops import busy

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
TGKILL = {"x86_64": 234, "aarch64": 131}
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def engine(server) -> int:
    """The engine's thread."""
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "engine":
            return int(task.name)
    raise AssertionError("no thread is called `engine`")


@fault("engine thread panic", "the server ends with an error instead of living on without an engine; calls get UNAVAILABLE")
def panics(ground):
    """No input is known that makes it panic, so the tests' backend does it, below a whole server."""
    test = ["stopping::a_panic_in_the_engines_thread_ends_the_server", "--exact"]
    if built := os.environ.get("KO_SENTIMENT_TESTS"):
        command = [built, *test]
    elif shutil.which("cargo"):
        command = ["cargo", "test", "--release", "--quiet", "--test", "it", "--", *test]
    else:
        raise Skip("no cargo, which runs this test")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0 and "1 passed" in done.stdout, (done.stdout + done.stderr)[-500:]
    return "the server ends (integration test)"


@fault("engine thread killed", "the process ends at once, not with code 0; clients get UNAVAILABLE, no other code")
def kills(ground):
    if platform.machine() not in TGKILL:
        raise Skip("the number of tgkill is not known here")
    with ground.serve() as server:
        load = Load(lambda _: Caller(server.target), callers=4)
        busy(load, server)
        libc.syscall(TGKILL[platform.machine()], server.pid, engine(server), signal.SIGABRT)
        begun = time.monotonic()
        wait_until("the process ends", lambda: server.process.poll() is not None, 10)
        after = time.monotonic() - begun
        wait_until("the callers notice", lambda: load.failures, 10)
        load.end()
        codes = {failure[0] for failure in load.failures}
        code = server.process.returncode
        assert code != 0 and codes == {"UNAVAILABLE"}, (code, codes)
    return f"exit code {code} after {after:.1f} s"


def heard(supervisor: socket.socket, seconds: float) -> int:
    """Signs of life within a time."""
    until, count = time.monotonic() + seconds, 0
    while (left := until - time.monotonic()) > 0:
        supervisor.settimeout(left)
        try:
            count += supervisor.recv(256) == b"WATCHDOG=1"
        except TimeoutError:
            break
    return count


@fault("engine thread stuck", "no sign of life for the watchdog; deadlines and probes are answered; then it goes on")
def hangs(ground):
    path = ground.folder / "notify.sock"
    supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    supervisor.bind(str(path))
    env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}
    with ground.serve(env=env) as server, Caller(server.target) as client:
        client.classify("네")
        thread = engine(server)
        if libc.ptrace(SEIZE, thread, None, None) != 0:
            raise Skip(f"ptrace is not allowed: {os.strerror(ctypes.get_errno())}")
        try:
            assert libc.ptrace(INTERRUPT, thread, None, None) == 0
            os.waitpid(thread, 0x40000000)  # __WALL
            heard(supervisor, 0.5)
            late = handled(server, "DeadlineExceeded")
            waiting = Connection(server.address)
            block = call_headers(b"Classify", (b"grpc-timeout", b"1500m"))
            waiting.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, message("좋아요")))
            assert waiting.wait_for(lambda: waiting.has_ended(1), 5), "the deadline passes without an answer"
            waiting.close()
            assert handled(server, "DeadlineExceeded") == late + 1
            silent = heard(supervisor, 2)
            assert silent == 0, f"{silent} signs of life of a stuck engine"
            assert server.get("/metrics")[0] == 200
        finally:
            libc.ptrace(DETACH, thread, None, None)
        client.classify("그저 그래요")
        assert heard(supervisor, 2) > 0, "no sign of life afterwards"
        is_fine(server, others=1)
    supervisor.close()
    return "silent for the watchdog, then well"
