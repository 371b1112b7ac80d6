"""A certificate authority for an hour, made with `openssl`, and what a server shows of its certificate."""

import os
import socket
import ssl
import subprocess
from pathlib import Path


def openssl(*arguments) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """Signs certificates into a folder: `NAME.pem` and `NAME.key`, and its own as `ca.pem`."""

    def __init__(self, folder: Path):
        self.folder, self.serial = folder, 0x1000
        new = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2]
        self.path("ca.cnf").write_text(
            "[req]\ndistinguished_name=n\nx509_extensions=e\nprompt=no\n[n]\nCN=ko-sentiment test\n"
            "[e]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n"
        )
        openssl("req", *new, "-config", self.path("ca.cnf"), "-keyout", self.path("ca.key"), "-out", self.path("ca.pem"))

    def path(self, name: str) -> Path:
        return self.folder / name

    def sign(self, name: str, host: str = "localhost") -> int:
        """Puts a new certificate and key in place, each in one step; its serial number."""
        self.serial += 1
        request, key, new = self.path("request"), self.path("new.key"), self.path("new.pem")
        made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={host}"]
        openssl("req", *made, "-keyout", key, "-out", request)
        self.path("extensions").write_text(f"subjectAltName=DNS:{host},IP:127.0.0.1\nbasicConstraints=CA:false\n")
        signed = ["-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"), "-set_serial", self.serial, "-days", 1]
        openssl("x509", "-req", "-in", request, *signed, "-extfile", self.path("extensions"), "-out", new)
        os.replace(key, self.path(f"{name}.key"))
        os.replace(new, self.path(f"{name}.pem"))
        return self.serial

    def flags(self) -> list:
        """A server's, for the certificate `server`."""
        return ["--tls-cert", self.path("server.pem"), "--tls-key", self.path("server.key")]

    def credentials(self, own: str | None = None):
        """A grpcio client's, with a certificate of its own if it is named."""
        import grpc

        read = lambda name: self.path(name).read_bytes()
        pair = (read(f"{own}.key"), read(f"{own}.pem")) if own else (None, None)
        return grpc.ssl_channel_credentials(read("ca.pem"), *pair)

    def connect(self, address: tuple[str, int]) -> ssl.SSLSocket:
        """A connection that trusts this authority."""
        context = ssl.create_default_context(cafile=str(self.path("ca.pem")))
        context.set_alpn_protocols(["h2"])
        return context.wrap_socket(socket.create_connection(address, 10), server_hostname="localhost")

    def served(self, address: tuple[str, int]) -> int:
        """The serial number of the certificate that a new connection gets."""
        with self.connect(address) as connection:
            return int(connection.getpeercert()["serialNumber"], 16)
