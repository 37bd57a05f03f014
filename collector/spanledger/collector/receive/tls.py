"""The certificates of a listener, read for both transports in the same way."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc


class TlsUnusable(Exception):
    """A file of TLS cannot be used; the message begins with its key in the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; with `client_ca`, senders must show a certificate that it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def for_http(self) -> ssl.SSLContext:
        """TLS 1.2 or newer. Raises `TlsUnusable`."""
        for name, path in (("cert_file", self.cert), ("key_file", self.key), ("client_ca_file", self.client_ca)):
            try:
                _ = path and path.read_bytes()
            except OSError as error:
                raise TlsUnusable(f"{name}: {path} cannot be read: {error.strerror}") from error
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.cert, self.key, password=self._ask)
        except ssl.SSLError as error:
            raise TlsUnusable(f"cert_file: {self.cert} is no certificate of the key {self.key}: {error}") from error
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise TlsUnusable(f"client_ca_file: {self.client_ca} holds no certificate: {error}") from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _ask(self) -> str:
        """OpenSSL would ask on the terminal, where nobody may be."""
        raise TlsUnusable(f"key_file: {self.key} has a pass phrase; it must be a key without one")

    def for_grpc(self) -> grpc.ServerCredentials:
        """The same for gRPC, which itself only says later, and not clearly, that a file is no certificate.

        Raises `TlsUnusable`.
        """
        self.for_http()
        ca = None if self.client_ca is None else self.client_ca.read_bytes()
        pair = (self.key.read_bytes(), self.cert.read_bytes())
        made: grpc.ServerCredentials = grpc.ssl_server_credentials(  # type: ignore[no-untyped-call]
            [pair], root_certificates=ca, require_client_auth=ca is not None
        )
        return made
