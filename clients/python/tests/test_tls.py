"""TLS, ended in front of a real server by a proxy of bytes."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from conftest import Server

from ko_sentiment import AsyncClient, Client, KoSentimentError, Retry, Tls


def certificate(folder: Path, name: str, *flags: str) -> None:
    command = f"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {name}.key -out {name}.pem"
    run = [*command.split(), "-x509", "-subj", f"/CN={name}", *flags]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificate(folder, "ca", "-addext", "keyUsage=critical,keyCertSign")
    by_ca = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    certificate(folder, "server", *by_ca, "-addext", "subjectAltName=DNS:sentiment.example")
    certificate(folder, "client", *by_ca)
    return folder


class TlsProxy:
    """Asks for the client's certificate and passes the bytes on."""

    def __init__(self, files: Path, upstream: str) -> None:
        self._host, _, self._port = upstream.partition(":")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files / "ca.pem"))
        self._context.load_cert_chain(files / "server.pem", files / "server.key")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.set_alpn_protocols(["h2"])
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))
        await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            sink.close()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def address(files: Path, server: Server) -> Iterator[str]:
    proxy = TlsProxy(files, server.address)
    yield proxy.address
    proxy.close()


def test_both_clients_with_certificates(files: Path, address: str) -> None:
    tls = Tls(files / "ca.pem", files / "client.pem", files / "client.key", server_name="sentiment.example")
    with Client(address, tls=tls, token="secret") as client:
        assert client.classify("좋아요").probability > 0
        assert len(list(client.classify_many(["좋아요"] * 50))) == 50

    async def main() -> float:
        async with AsyncClient(address, tls=tls) as client:
            return (await client.classify("좋아요")).probability

    assert asyncio.run(main()) > 0


def test_what_must_be_rejected(files: Path, address: str) -> None:
    ca, cert, key = files / "ca.pem", files / "client.pem", files / "client.key"
    for tls in (
        None,
        Tls(server_name="sentiment.example", cert=cert, key=key),
        Tls(ca, cert, key, server_name="other.example"),
        Tls(ca, server_name="sentiment.example"),
    ):
        with Client(address, tls=tls, retry=Retry(attempts=1)) as client, pytest.raises(KoSentimentError) as caught:
            client.classify("좋아요", timeout=10)
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE, tls
