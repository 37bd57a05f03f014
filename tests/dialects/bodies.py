"""The samples as export requests: whole, split into single records, and put together anew."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from spanledger.collector.received import Received, Signal

SAMPLES = Path(__file__).parent / "samples"
INDEX: list[dict[str, Any]] = json.loads((SAMPLES / "index.json").read_text())["samples"]
NOW = datetime(2026, 11, 23, tzinfo=UTC)

_LEVELS = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}


def signal_of(name: str) -> Signal:
    """traces, logs or metrics, from a sample's file name."""
    return cast(Signal, name.split(".")[-2])


def body(name: str) -> Received:
    """A sample as it was received, OTLP/JSON."""
    return received(json.loads((SAMPLES / name).read_text()), signal_of(name))


def received(request: dict[str, Any], signal: Signal, sequence: int = 1) -> Received:
    """A request as OTLP/JSON."""
    return Received(
        sequence=sequence,
        received_at=NOW,
        signal=signal,
        encoding="json",
        compression="identity",
        body=json.dumps(request).encode(),
    )


def singles(name: str) -> list[Received]:
    """One request for each span, log record or metric of a sample."""
    signal = signal_of(name)
    top, middle, leaf = _LEVELS[signal]
    request = json.loads((SAMPLES / name).read_text())
    found = []
    for resources in request[top]:
        for scopes in resources[middle]:
            found += [received({top: [{**resources, middle: [{**scopes, leaf: [record]}]}]}, signal) for record in scopes[leaf]]
    return found


def numbered(bodies: list[Received]) -> list[Received]:
    """The bodies with the sequence they would have in a journal."""
    return [replace(each, sequence=number) for number, each in enumerate(bodies, start=1)]
