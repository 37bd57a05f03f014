"""To a backend over OTLP/HTTP: the body goes on byte for byte, compressed or not, protobuf or JSON."""

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from spanledger.collector.pass_through.deliver import Later, Never
from spanledger.collector.received import Received

_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}
_LATER = frozenset({408, 429, 502, 503, 504})


class OverHttp:
    """POSTs to `{endpoint}/v1/{signal}` on one connection that is kept open."""

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], timeout_seconds: float, ca_file: str | None = None) -> None:
        parts = urlsplit(endpoint)
        self._path = parts.path.rstrip("/")
        self._headers = dict(headers)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=timeout_seconds, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)

    def deliver(self, received: Received) -> None:
        """Return when the backend answered 2xx; raises `Later` or `Never`."""
        headers = {**self._headers, "Content-Type": _TYPES[received.encoding]}
        if received.compression == "gzip":
            headers["Content-Encoding"] = "gzip"
        try:
            self._connection.request("POST", f"{self._path}/v1/{received.signal}", received.body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next request opens it anew
            raise Later(f"{type(error).__name__}: {error}") from error
        if 200 <= answer.status < 300:
            return
        after = answer.getheader("Retry-After", "")
        if answer.status in _LATER:
            raise Later(f"HTTP {answer.status}", float(after) if after.isdigit() else 0)
        raise Never(f"HTTP {answer.status} {answer.reason}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
