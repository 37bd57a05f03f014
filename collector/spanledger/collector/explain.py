"""What each span and log record was taken for, by which rule, and which entries that makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from spanledger.collector.columns import identity
from spanledger.collector.columns.keys import keys_of
from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.evidence import Evidence
from spanledger.collector.count.evidence_files import EvidenceFiles
from spanledger.collector.count.grouping import RULES
from spanledger.collector.count.memory import KEPT, Memory, as_kept
from spanledger.collector.count.resolve import resolve
from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.assumptions import CachedInput
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.recognise import recognise, scopes_of
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import frame_of

#: Finds any record at all. RE2.
_EVERYTHING = r"(?s)."

#: Columns of `Explained.records`, in the order in which a reader wants them.
RECORDS = (
    "signal", "name", "trace_id", "span_id", "parent_span_id", "scope_name", "scope_version", "dialect", "taken_for",
    "verdict", "rule", "stands_for", "provider", "model", "input_tokens", "cache_read_tokens", "cache_write_tokens",
    "output_tokens", "reasoning_tokens", "flags", "entry_id",
)  # fmt: skip


@dataclass(slots=True)
class Explained:
    """`records` by `RECORDS`; `entries` as counted or as in the ledger; `seen` counts records about no model too.

    `metrics` are points of the same senders that are left out of a trace: they sum up calls of any traces.
    """

    records: pl.DataFrame
    entries: pl.DataFrame
    seen: int = 0
    metrics: int = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How telemetry is read, as a collector is configured to; the defaults are its defaults."""

    attribution: Attribution = field(default_factory=Attribution)
    counting: Counting = field(default_factory=Counting)
    settled: Sequence[CachedInput] = ()


def explain(bodies: Sequence[Received], reading: Reading | None = None) -> Explained:
    """What these bodies alone would come to in an empty ledger, once everything has waited long enough; without money."""
    reading = reading or Reading()
    telemetry = decode(bodies, reading.attribution.bytes)
    evidence = recognise(telemetry, reading.attribution, reading.settled)
    now = datetime.now(UTC)
    counter = CountOnce(reading.counting)
    entries = pl.concat([counter.count(evidence, now=now), counter.due(now=now + timedelta(days=1))])
    unreadable = [each.reason for each in telemetry.undecodable] + [f"{each.count} {each.reason}" for each in telemetry.rejected]
    told = _told(as_kept(evidence, KEPT), fingerprint=reading.counting.fingerprint)
    return Explained(_with_silent(told, evidence, bodies), entries, telemetry.seen, unreadable=unreadable)


def _with_silent(told: pl.DataFrame, evidence: pl.DataFrame, bodies: Sequence[Received]) -> pl.DataFrame:
    """What was told of this evidence, with the spans and log records of which nothing is taken."""
    telemetry = decode(bodies, _EVERYTHING)
    records = telemetry.records.filter(pl.col("signal") != "metrics")
    if records.is_empty():
        return told
    of_span = identity.of_spans(records["trace_id"].fill_null(""), records["span_id"].fill_null(""))
    scopes = scopes_of(telemetry).drop("cut")[records["scope"]].get_columns()
    named = records.select(
        "signal", "trace_id", "span_id", "parent_span_id", *scopes, (pl.col("end") // 1000).cast(pl.Int64).alias("ended"),
        pl.coalesce("digest", of_span).alias("record"), pl.coalesce("name", "text").alias("name"),
        pl.lit("nothing").alias("taken_for"), pl.lit("-").alias("verdict"),
    ).unique("record", keep="first", maintain_order=True)  # fmt: skip
    # Log records that their vendor numbers have that number's id in the evidence.
    numbered = evidence.filter(pl.col("signal") == "logs").select("signal", "scope_name", "ended").unique()
    silent = (
        named.filter(~pl.col("record").is_in(evidence["entry_id"].implode()))
        .join(numbered, on=["signal", "scope_name", "ended"], how="anti", nulls_equal=True, maintain_order="left")
        .drop("record", "ended")
    )
    # Spans that only pass things on were told without their names.
    names = named.select("trace_id", "span_id", pl.col("name").alias("called"), pl.col("scope_name").alias("scoped")).unique(
        ["trace_id", "span_id"], keep="first"
    )
    told = told.join(names, on=["trace_id", "span_id"], how="left", maintain_order="left").with_columns(
        pl.coalesce("name", "called").alias("name"), pl.coalesce("scope_name", "scoped").alias("scope_name")
    )
    return pl.concat([told, silent], how="diagonal_relaxed").select(RECORDS)


def explain_trace(data: Path, trace_id: str) -> Explained:
    """What is known of a trace: its records as long as they are kept as evidence, and its entries in the ledger.

    With them what was put with its calls from elsewhere; `trace_id` tells it apart.
    """
    memory = Memory()
    if (data / "evidence").is_dir():
        EvidenceFiles(data / "evidence").peek(memory)
    rows = np.flatnonzero(memory.arrays["trace"] == keys_of(pl.Series([trace_id])))
    # Verdicts are right only over all that may belong together, which is far more than what does.
    evidence = memory.evidence.take(memory.touched(rows, fingerprint=True) if len(rows) else rows)
    told = _told(evidence, wanted=trace_id)
    metrics = told.height
    told = told.filter(pl.col("signal") != "metrics")
    metrics -= told.height
    with connect(data) as connection:
        connection.register("told", told.select("entry_id", "trace_id").to_arrow())
        found = connection.sql(_ENTRIES_OF_TRACE, params={"trace": trace_id}).to_arrow_table()
    return Explained(told, frame_of(found), told.height, metrics)


#: Entries of a trace's records and of what was put with them; then what stands for them, and what they stand for.
_ENTRIES_OF_TRACE = """
with own as (
    select entry_id, stands_for from entries
    where trace_id = $trace
        or entry_id in (select entry_id from told)
        or stands_for in (select entry_id from told where trace_id = $trace)
)
select * from entries
where (signal is distinct from 'metrics' or trace_id = $trace)
    and (entry_id in (select entry_id from own union all select stands_for from own)
         or stands_for in (select entry_id from entries where trace_id = $trace))
order by recorded_at, kind
"""


def _told(evidence: pl.DataFrame, *, fingerprint: bool = True, wanted: str | None = None) -> pl.DataFrame:
    """`RECORDS` of this evidence; of a wanted trace only its own and those that are of one call with any of them."""
    if evidence.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(RECORDS, pl.String))
    evidence = evidence.unique("entry_id", keep="first", maintain_order=True)
    verdicts = resolve(Evidence.of(evidence), settled=np.ones(evidence.height, dtype=bool), fingerprint=fingerprint)
    stands = pl.Series(verdicts.stands)
    by = (
        evidence["entry_id"]
        .gather(pl.Series(np.maximum(verdicts.by, 0)))
        .zip_with(pl.Series(verdicts.by >= 0) & ~stands, pl.Series([None], dtype=pl.String).new_from_index(0, evidence.height))
    )
    rule = pl.Series(list(RULES))[pl.Series(verdicts.rule)]
    told = evidence.with_columns(
        pl.col("role").replace({"leaf": "call", "span": "part of a trace", "link": "part of a trace"}).alias("taken_for"),
        pl.when(stands).then(pl.lit("call")).when(rule != "").then(pl.lit("duplicate")).otherwise(pl.lit("-")).alias("verdict"),
        pl.when(~stands & (rule != "")).then(rule).alias("rule"),
        by.alias("stands_for"),
    ).select(RECORDS)
    if wanted is None:
        return told
    own = (evidence["trace_id"] == wanted).fill_null(False).to_numpy()
    return told.filter(pl.Series(np.isin(verdicts.label, verdicts.label[own])))
