"""The block `exporters`: where the ledger is, and the backend that everything is handed on to."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from spanledger.collector.setting_values import Block, Seconds, Timeout, address

#: A century: what is kept for longer is kept for good.
_LONGEST_SECONDS = 100 * 365 * 86400.0


class LedgerExporter(Block):
    """exporters.ledger"""

    url: str | None = None
    retention: Annotated[Seconds, Field(le=_LONGEST_SECONDS)] | None = None
    keep_replaced: Seconds = 600.0


class ClientTls(Block):
    """exporters.otlp.tls"""

    insecure: bool = False
    ca_file: str | None = None


class OtlpExporter(Block):
    """exporters.otlp: hands everything received on to another backend, unchanged."""

    endpoint: str
    protocol: Literal["http", "grpc"] = "http"
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: Timeout = 10.0
    tls: ClientTls = ClientTls()

    @model_validator(mode="after")
    def _fits(self) -> "OtlpExporter":
        parts = urlsplit(self.endpoint)
        if self.protocol == "http" and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"endpoint {self.endpoint!r} is not a URL such as http://collector:4318")
        if self.protocol == "grpc":
            if "/" in self.endpoint:
                raise ValueError(
                    f"endpoint {self.endpoint!r} is not host:port, as gRPC wants it; tls.insecure: true is without TLS"
                )
            address(self.endpoint)
        _ = self.place  # raises for a port that is none
        return self

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.endpoint if self.protocol == "http" else f"//{self.endpoint}")
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class Exporters(Block):
    """exporters"""

    ledger: LedgerExporter = LedgerExporter()
    otlp: OtlpExporter | None = None
