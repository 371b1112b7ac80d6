"""A server of one's own: the binary as a child that ends with its owner, shared through a Unix socket.

Tasks of one executor share a server: the first one starts it, and it ends when no task has used it for a while, or
with the process that owns it, however that dies. It runs on Linux and macOS.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

START_SECONDS = 300.0
IDLE_SECONDS = 60.0
STOP_SECONDS = 40.0


@dataclass(frozen=True)
class Embedded:
    """How to start a server of one's own."""

    binary: str
    """The server's binary: a path, or a name that `SparkFiles` knows."""
    model: str
    """The model: a path, or a name that `SparkFiles` knows."""
    flags: Sequence[str] = ()
    """Further flags of ``serve``, such as ``("--threads", "4")``."""
    idle_seconds: float = IDLE_SECONDS
    """Seconds without a user after which the server ends."""

    def __post_init__(self) -> None:
        if not self.binary or not self.model:
            raise ValueError("a server of one's own needs `binary` and `model`")


@contextlib.contextmanager
def shared(server: Embedded, owner: int, scope: str = "") -> Iterator[str]:
    """Yields the endpoint of the server that all users with this owner and `scope` share, and starts it if need be.

    Args:
        owner: The process with which the server ends.
        scope: Tells owners apart that are one process.
    """
    folder = _folder(server, f"{owner} {_started(owner)} {scope}")
    with (folder / "lock").open("a") as lock, (folder / "users").open("a") as users:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not _runs(folder):
            _start(server, owner, folder)
        fcntl.flock(lock, fcntl.LOCK_UN)
        yield f"unix:{folder / 'socket'}"


def _folder(server: Embedded, owner: str) -> Path:
    """A folder that only this user can enter; short, because a socket's path has 107 bytes."""
    key = hashlib.sha256(json.dumps([asdict(server), owner]).encode()).hexdigest()[:16]
    parent = Path(tempfile.gettempdir()) / f"ko-sentiment-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    found = parent.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or parent.is_symlink():
        raise PermissionError(f"{parent} is open to others; remove it")
    folder = parent / key
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _runs(folder: Path) -> bool:
    """A guardian holds its lock for as long as its server runs."""
    with (folder / "guardian").open("a") as guardian:
        try:
            fcntl.flock(guardian, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return (folder / "socket").exists()
        return False


def _start(server: Embedded, owner: int, folder: Path) -> None:
    """Starts a guardian and waits until its server listens."""
    (folder / "socket").unlink(missing_ok=True)
    command = [sys.executable, "-c", "from ko_sentiment.embedded import guard; guard()", json.dumps(asdict(server))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with (folder / "log").open("wb") as log:
        guardian = subprocess.Popen(
            [*command, str(owner), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not (folder / "socket").exists():
        if guardian.poll() is not None or time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                guardian.terminate()
            said = (folder / "log").read_text(errors="replace")[-2000:].strip()
            raise RuntimeError(f"the server did not start; see what it said:\n{said}")
        time.sleep(0.05)


def guard() -> None:
    """The guardian's own process: runs the server until its owner is gone or nobody uses it."""
    server, owner, folder = json.loads(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    with (folder / "guardian").open("a") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        process = _spawn(server, folder)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        began, idle_since = _started(owner), time.monotonic()
        with (folder / "users").open("a") as users:
            while process.poll() is None:
                time.sleep(0.5)
                now = time.monotonic()
                if _started(owner) != began:
                    _stop(process)
                elif _locks(users):
                    fcntl.flock(users, fcntl.LOCK_UN)
                    if now - idle_since > server["idle_seconds"] and _stop_unused(process, folder, users):
                        break
                else:
                    idle_since = now
        (folder / "socket").unlink(missing_ok=True)
    sys.exit(process.wait())


def _spawn(server: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    binary = Path(server["binary"])
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | 0o100)  # as SparkFiles copied it
    command = [str(binary), "serve", "--model", server["model"], "--listen", f"unix:{folder / 'socket'}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KO_SENTIMENT_")}
    return subprocess.Popen([*command, *server["flags"]], env=environment, preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    """Between fork and exec, in a process of one thread: the server ends if its guardian is killed (Linux)."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _stop_unused(process: subprocess.Popen[bytes], folder: Path, users: IO[str]) -> bool:
    """Stops it, unless a user comes while the lock is taken."""
    with (folder / "lock").open("a") as lock:
        if not _locks(lock) or not _locks(users):
            return False
        _stop(process)
        (folder / "socket").unlink(missing_ok=True)
        return True


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _started(process: int) -> str | None:
    """When a process began, so that a reused number is noticed; None if there is none."""
    if sys.platform == "linux":
        try:
            state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if state in "ZX" else rest[18]
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True)
    return told.stdout.strip() or None
