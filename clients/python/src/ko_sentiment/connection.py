"""How to reach a server: address, TLS, token, deadline, retries."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Union

import grpc

from .retry import Retry
from .video import ROUTING_HEADER, Video

Token = Union[str, Callable[[], str], None]
Metadata = tuple[tuple[str, str], ...]

MAX_MESSAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Tls:
    """TLS, with files in PEM format."""

    ca: str | PathLike[str] | None = None
    """Certificates to trust; None takes those that gRPC ships."""
    cert: str | PathLike[str] | None = None
    """The client's certificate, where the server asks for one."""
    key: str | PathLike[str] | None = None
    """Its private key."""
    server_name: str | None = None
    """Name in the server's certificate, if it is not the endpoint's host."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files."""
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client certificate needs its key; give both `cert` and `key`")
        ca, key, cert = (None if path is None else Path(path).read_bytes() for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)


@dataclass(frozen=True)
class Connection:
    """What both clients are made from."""

    endpoint: str
    tls: Tls | None
    token: Token
    allow_plaintext_token: bool
    timeout: float
    retry: Retry

    def __post_init__(self) -> None:
        if "://" in self.endpoint.replace("dns:///", "", 1):
            raise ValueError(f"endpoint {self.endpoint!r} is a URL; give host:port, and `tls` for TLS")
        if not self.timeout > 0:
            raise ValueError(f"timeout {self.timeout} is not a number of seconds above 0")
        open_wire = self.tls is None and not _is_local(self.endpoint)
        if self.token is not None and open_wire and not self.allow_plaintext_token:
            raise ValueError(
                f"the token would travel to {self.endpoint} unencrypted; give `tls`, "
                "or `allow_plaintext_token=True` where the network encrypts"
            )

    @property
    def options(self) -> list[tuple[str, int | str]]:
        """Channel options. Retries are this package's: gRPC's own ignore RetryInfo."""
        options: list[tuple[str, int | str]] = [
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            # Channels with equal options share a connection, and so a server's fate and its backoff.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        elif is_unix(self.endpoint):
            # gRPC would send the socket's path, which is no authority for HTTP/2 servers that check it.
            options.append(("grpc.default_authority", "localhost"))
        return options

    def metadata(self, video: Video | None) -> Metadata:
        """The headers of one call."""
        return self.routed(None if video is None else video.routing_key)

    def routed(self, key: str | None) -> Metadata:
        """The headers of one call with this routing key."""
        headers = []
        if key is not None:
            headers.append((ROUTING_HEADER, key))
        token = self.token() if callable(self.token) else self.token
        if token is not None:
            headers.append(("authorization", f"Bearer {token}"))
        return tuple(headers)


def is_unix(endpoint: str) -> bool:
    """The endpoint is a Unix socket."""
    return endpoint.startswith(("unix:", "unix-abstract:"))


def _is_local(endpoint: str) -> bool:
    """The endpoint can only be this machine."""
    if is_unix(endpoint):
        return True
    host = re.sub(r"^(dns:(///)?|ipv[46]:)|:\d+$", "", endpoint).strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
