"""Where a running collector listens: it writes `addresses.json` into its data folder, and every other command reads it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """`grpc` and `http` are host:port, `api` is a URL, `data` is the absolute data folder; `tls` says that `http` wants it."""

    grpc: str
    http: str
    api: str
    data: str
    pid: int
    tls: bool = False

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Addresses":
        """From the members of a JSON object; more than these may stand in it. Raises `ValueError` when one is missing."""
        try:
            return cls(**{field.name: found[field.name] for field in fields(cls) if field.name in found})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the addresses of a collector: {error}") from error

    @property
    def folder(self) -> str:
        """The data folder as one would type it here."""
        near = os.path.relpath(self.data)
        return self.data if near.startswith("..") else near

    @property
    def otlp(self) -> str:
        """The URL of OTLP over HTTP."""
        return f"{'https' if self.tls else 'http'}://{self.http}"

    def variables(self) -> Mapping[str, str]:
        """What the host application must have in its environment; empty when the defaults lead here."""
        wanted = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp, "SPANLEDGER_API": self.api}
        return {name: url for name, url in wanted.items() if url != _DEFAULTS[name]}


_DEFAULTS = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "SPANLEDGER_API": "http://127.0.0.1:4380"}


def running(data: Path) -> Addresses | None:
    """The collector that runs over a data folder; None when none does, or its file is left over from one that was killed."""
    try:
        addresses = Addresses.of({**json.loads((data / "addresses.json").read_text()), "data": str(data.absolute())})
        os.kill(addresses.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it runs, as somebody else
        return addresses
    except (OSError, ValueError, TypeError):
        return None
    return addresses
