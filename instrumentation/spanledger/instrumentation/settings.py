"""What the environment may set, read once when metering starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


def _setting(variable: str, read: Any, default: Any, says: str) -> Any:
    return field(default=default, metadata={"variable": variable, "read": read, "says": says})


def _flag(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")


def _hosts(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return tuple((host.strip().lower(), provider.strip()) for host, _, provider in pairs)


def _on_spans(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "span_only", "span_and_event")


def _kept(text: str) -> bool:
    return text.strip().lower() != "drop"


def _closed(text: str) -> bool:
    return text.strip().lower() == "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One value, passed down. A variable that cannot be read keeps its default."""

    guard: bool = _setting("SPANLEDGER_GUARD", _flag, False, "ask the check API before each call")
    api: str = _setting("SPANLEDGER_API", str, "http://127.0.0.1:4380", "where the check API is")
    api_key: str = _setting("SPANLEDGER_API_KEY", str, "", "bearer token for the check API")
    guard_closed: bool = _setting("SPANLEDGER_GUARD_FAIL", _closed, False, "`closed` refuses calls while the API is away")
    guard_timeout_ms: float = _setting("SPANLEDGER_GUARD_TIMEOUT_MS", float, 50.0, "how long a call may wait for its check")
    guard_lease: int = _setting("SPANLEDGER_GUARD_LEASE", int, 0, "passed checks fetched ahead for each kind of call; 0 for none")
    hosts: tuple[tuple[str, str], ...] = _setting(
        "SPANLEDGER_PROVIDER_HOSTS", _hosts, (), "whose a host is: `gateway.internal=groq,127.0.0.1:8000=vllm`"
    )
    keep_sampled_out: bool = _setting(
        "SPANLEDGER_SAMPLED_OUT", _kept, True, "`drop` loses the calls of traces that the application's sampler drops"
    )
    captures: bool = _setting(
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        _on_spans,
        False,
        "`true` records prompts and answers",
    )
    sdk_disabled: bool = _setting("OTEL_SDK_DISABLED", _flag, False, "emit nothing (the guard still asks)")
    service: str = _setting("OTEL_SERVICE_NAME", str, "", "service named in a check")

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """From these variables; without them, from the process's own."""
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for row in fields(cls):
            text = source.get(row.metadata["variable"], "")
            if text.strip():
                try:
                    values[row.name] = row.metadata["read"](text)
                except ValueError:
                    continue
        return cls(**values)
