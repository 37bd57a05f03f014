"""What each span and log record was taken for, by which rule, and which entries that makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
import polars as pl

from spanledger.collector.attribution import Attribution
from spanledger.collector.count_once import CountOnce
from spanledger.collector.decode import decode
from spanledger.collector.evidence_files import EvidenceFiles
from spanledger.collector.grouping import RULES
from spanledger.collector.memory import KEPT, Memory, as_kept, keyed
from spanledger.collector.received import Received, Signal
from spanledger.collector.recognise import recognise
from spanledger.collector.resolve import resolve
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import frame_of

_TOP = {"resourceSpans": "traces", "resourceLogs": "logs", "resourceMetrics": "metrics"}
_GZIP = b"\x1f\x8b"

#: Columns of `Explained.records`, in the order in which a reader wants them.
RECORDS = (
    "signal", "name", "trace_id", "span_id", "parent_span_id", "scope_name", "scope_version", "dialect", "taken_for",
    "verdict", "rule", "stands_for", "provider", "model", "input_tokens", "cache_read_tokens", "cache_write_tokens",
    "output_tokens", "reasoning_tokens", "flags", "entry_id",
)  # fmt: skip


@dataclass(slots=True)
class Explained:
    """`records` by `RECORDS`; `entries` as counted or as in the ledger; `seen` counts records about no model too."""

    records: pl.DataFrame
    entries: pl.DataFrame
    seen: int = 0
    unreadable: list[str] = field(default_factory=list)


def bodies_in(content: bytes, signal: Signal | None = None) -> list[Received]:
    """The export requests in a file: OTLP/JSON, one or one a line, or protobuf, whose signal is tried if not told; gzip or not.

    Raises `ValueError` if it is neither.
    """
    if content.startswith(_GZIP):
        import gzip

        content = gzip.decompress(content)
    if content.lstrip()[:1] in (b"{", b"["):
        return [_received(orjson.dumps(request), found, "json") for request, found in _requests(content)]
    if signal is not None:
        return [_received(content, signal, "protobuf")]
    tried = [_received(content, guess, "protobuf") for guess in ("traces", "logs", "metrics")]
    read = [(decode([each]), each) for each in tried]
    good = [
        (telemetry.records.height, each)
        for telemetry, each in read
        if not telemetry.undecodable and not telemetry.rejected and telemetry.seen
    ]
    if not good:
        raise ValueError("this is neither OTLP/JSON nor an OTLP request in protobuf")
    return [max(good, key=lambda each: each[0])[1]]


def _requests(content: bytes) -> Iterator[tuple[dict[str, Any], Signal]]:
    try:
        parts: list[Any] = [orjson.loads(content)]
    except orjson.JSONDecodeError:
        try:
            parts = [orjson.loads(line) for line in content.splitlines() if line.strip()]
        except orjson.JSONDecodeError as error:
            raise ValueError(f"this is neither JSON nor a JSON object a line: {error}") from error
    for part in (each for listed in parts for each in (listed if isinstance(listed, list) else [listed])):
        found = [top for top in _TOP if isinstance(part, dict) and top in part]
        if not found:
            raise ValueError("an OTLP/JSON request holds resourceSpans, resourceLogs or resourceMetrics; this holds none of them")
        for top in found:
            yield {top: part[top]}, cast(Signal, _TOP[top])


def _received(body: bytes, signal: Signal, encoding: Any) -> Received:
    return Received(
        sequence=1, received_at=datetime.now(UTC), signal=signal, encoding=encoding, compression="identity", body=body
    )


def explain(bodies: Sequence[Received], attribution: Attribution | None = None) -> Explained:
    """What these bodies alone would come to in an empty ledger, once everything has waited long enough."""
    telemetry = decode(bodies, attribution.bytes if attribution else "")
    evidence = recognise(telemetry, attribution)
    now = datetime.now(UTC)
    counter = CountOnce()
    entries = pl.concat([counter.count(evidence, now=now), counter.due(now=now + timedelta(days=1))])
    unreadable = [each.reason for each in telemetry.undecodable] + [f"{each.count} {each.reason}" for each in telemetry.rejected]
    return Explained(_told(as_kept(evidence, KEPT)), entries, telemetry.seen, unreadable)


def explain_trace(data: Path, trace_id: str) -> Explained:
    """What is known of a trace: its records as long as they are kept as evidence, and its entries in the ledger."""
    memory = Memory()
    if (data / "evidence").is_dir():
        EvidenceFiles(data / "evidence").peek(memory)
    rows = np.flatnonzero((memory.evidence["trace_id"] == trace_id).fill_null(False).to_numpy())
    evidence = memory.evidence[memory.touched(rows, fingerprint=True)] if len(rows) else memory.evidence.clear()
    with connect(data) as connection:
        connection.register("wanted", pl.DataFrame({"entry_id": evidence["entry_id"]}).to_arrow())
        found = connection.sql(
            "select * from entries where trace_id = $trace or entry_id in (select entry_id from wanted)"
            " or stands_for in (select entry_id from wanted) order by recorded_at, kind",
            params={"trace": trace_id},
        ).to_arrow_table()
    return Explained(_told(evidence.select(list(KEPT))), frame_of(found), evidence.height)


def _told(evidence: pl.DataFrame) -> pl.DataFrame:
    if evidence.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(RECORDS, pl.String))
    evidence = keyed(evidence).unique("entry_key", keep="first", maintain_order=True)
    verdicts = resolve(evidence, settled=np.ones(evidence.height, dtype=bool))
    stands = pl.Series(verdicts.stands)
    by = (
        evidence["entry_id"]
        .gather(pl.Series(np.maximum(verdicts.by, 0)))
        .zip_with(pl.Series(verdicts.by >= 0) & ~stands, pl.Series([None], dtype=pl.String).new_from_index(0, evidence.height))
    )
    rule = pl.Series(list(RULES))[pl.Series(verdicts.rule)]
    return evidence.with_columns(
        pl.col("role").replace({"leaf": "call", "span": "part of a trace", "link": "part of a trace"}).alias("taken_for"),
        pl.when(stands).then(pl.lit("call")).when(rule != "").then(pl.lit("duplicate")).otherwise(pl.lit("-")).alias("verdict"),
        pl.when(~stands & (rule != "")).then(rule).alias("rule"),
        by.alias("stands_for"),
    ).select(RECORDS)
