"""The certificates of a listener, read for both transports in the same way."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; with `client_ca`, senders must show a certificate that it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def for_http(self) -> ssl.SSLContext:
        """TLS 1.2 or newer. Raises `OSError` (`ssl.SSLError` is one) when a file is missing or holds something else."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert, self.key)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def for_grpc(self) -> grpc.ServerCredentials:
        """The same for gRPC, which itself only says later, and not clearly, that a file is no certificate."""
        self.for_http()
        ca = None if self.client_ca is None else self.client_ca.read_bytes()
        pair = (self.key.read_bytes(), self.cert.read_bytes())
        made: grpc.ServerCredentials = grpc.ssl_server_credentials(  # type: ignore[no-untyped-call]
            [pair], root_certificates=ca, require_client_auth=ca is not None
        )
        return made
