"""A real server for the tests, and a proxy of its calls that can fail on demand."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from ko_sentiment import Client

REPOSITORY = Path(os.environ.get("KO_SENTIMENT_REPOSITORY", Path(__file__).parents[3]))
BINARY = Path(os.environ.get("KO_SENTIMENT_BINARY", REPOSITORY / "target/release/ko-sentiment"))
MODEL = Path(os.environ.get("KO_SENTIMENT_MODEL", REPOSITORY / "models/ko-gemma3-270m-sentiment.gguf"))
START_SECONDS = 120


class Server:
    """A running server. It can be stopped, and started again on the same port."""

    def __init__(self, *flags: str) -> None:
        self.flags = flags
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        # One thread: with more, a busy machine makes them wait for each other.
        context = ("--ctx-size", "4096", "--max-request-tokens", "4096", "--threads", "1")
        command = [BINARY, "serve", "--model", MODEL, "--listen", self.address, *context, *self.flags]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KO_SENTIMENT_")}
        self.process = subprocess.Popen(
            list(map(str, command)), stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, env=environment
        )
        log: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            log.append(line)
            if found := re.search(r"127\.0\.0\.1:(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", line)):
                self.address = found[0]
                break
        else:
            raise AssertionError("the server ended:\n" + "".join(log))
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        with Client(self.address) as client:
            client.model_info(timeout=START_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def serving(*flags: str) -> Iterator[Server]:
    server = Server(*flags)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def small_server() -> Iterator[Server]:
    """Takes two requests at once and refuses the third."""
    with serving("--max-requests", "2") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as made:
        yield made


class Proxy(grpc.GenericRpcHandler):
    """Passes calls on to a real server and keeps their headers; fails the next ones as `failures` and `cut_after` say."""

    def __init__(self, upstream: str) -> None:
        self.headers: list[dict[str, str]] = []
        self.failures: list[grpc.StatusCode] = []
        self.cut_after: list[int] = []
        self._channel = grpc.insecure_channel(upstream)
        self._server = grpc.server(futures.ThreadPoolExecutor(64))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        self.headers.append({str(k): str(v) for k, v in details.invocation_metadata})
        if details.method.endswith("/ClassifyStream"):
            return grpc.stream_stream_rpc_method_handler(self._stream(details.method))
        return grpc.unary_unary_rpc_method_handler(self._unary(details.method))

    def close(self) -> None:
        self._server.stop(None)
        self._channel.close()

    def _unary(self, method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self.failures:
                context.abort(self.failures.pop(0), "as the test asked")
            forward: Any = self._channel.unary_unary(method)
            answer: bytes = forward(request, timeout=60)
            return answer

        return handle

    def _stream(self, method: str) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            cut = self.cut_after.pop(0) if self.cut_after else None
            forward: Any = self._channel.stream_stream(method)
            call = forward(requests)
            for count, answer in enumerate(call):
                if count == cut:
                    call.cancel()
                    context.abort(grpc.StatusCode.UNAVAILABLE, "as the test asked")
                yield answer

        return handle


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.address)
    yield made
    made.close()


def until(happens: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for what must happen in the end."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
