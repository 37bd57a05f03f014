"""Tell which spans, log records and metric points are about calls, and read them into the columns of the ledger.

By columns: what is decided once for each distinct scope, name or value is decided in Python, the rest in Polars.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

import numpy as np
import polars as pl

from spanledger.collector import identity
from spanledger.collector.assumptions import CachedInput
from spanledger.collector.attribution import Attribution
from spanledger.collector.decided import PROOFS, decided, ranked
from spanledger.collector.decode import Telemetry
from spanledger.collector.dialects.fields import WHO
from spanledger.collector.emitters import dialects_of
from spanledger.collector.entry_columns import EVIDENCE, evidence_of
from spanledger.collector.fields import Fields, read_fields, read_resources, read_scopes
from spanledger.collector.leftovers import LONGEST_REST, with_rest, with_tags
from spanledger.collector.nested import opened
from spanledger.collector.payee import paid
from spanledger.collector.points import metric_records
from spanledger.collector.shapes import Shapes
from spanledger.collector.usage import meant, normalise

__all__ = ["EVIDENCE", "recognise"]

#: Before this no model was called over an API; later than this after its arrival no clock is merely slow.
EARLIEST = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
LATEST_SKEW = timedelta(days=1)


def recognise(telemetry: Telemetry, attribution: Attribution | None = None, settled: Sequence[CachedInput] = ()) -> pl.DataFrame:
    """Evidence: one row for each record that says something about a call or who it is for; `role` says what it was taken for."""
    attribution = attribution or Attribution()
    if telemetry.records.is_empty():
        return pl.DataFrame(schema=EVIDENCE)
    telemetry = opened(telemetry)
    shapes = Shapes.of(telemetry.attributes, telemetry.records.height)
    dialect, proved = dialects_of(telemetry, shapes)
    fields = read_fields(telemetry, shapes, dialect, attribution)
    records = telemetry.records.rename({"status": "span_status", "name": "given_name"})
    frame = records.with_columns(
        *fields.columns,
        pl.int_range(pl.len()).alias("at"),
        identity.of_spans(records["trace_id"].fill_null(""), records["span_id"].fill_null("")).alias("span_entry"),
        pl.Series("dialect", dialect),
        pl.Series("proved", proved),
        pl.Series("tokens_invalid", fields.invalid),
        pl.Series("text_cut", fields.cut),
        *telemetry.bodies[records["body"]].drop("sequence").get_columns(),
        *_scoped(telemetry),
        *_around(telemetry, attribution),
        *_service(telemetry)[records["resource"]].get_columns(),
    )
    evidence = evidence_of(_finished(_spoken(frame, settled), telemetry, fields, attribution))
    measured = metric_records(frame, telemetry)
    if not measured.is_empty():
        measured = _finished(_outcomes(normalise(ranked(meant(paid(measured))), settled)), telemetry, fields, attribution)
        evidence = pl.concat([evidence, evidence_of(measured)])
    return evidence if telemetry.links.is_empty() else pl.concat([evidence, _linked(telemetry.links)], how="diagonal_relaxed")


def _around(telemetry: Telemetry, attribution: Attribution) -> list[pl.Series]:
    """What a record's scope says of whom its calls are for, else its resource: `resource_<dimension>`, `resource_region`."""
    records = telemetry.records
    of_resource = read_resources(telemetry, attribution)[records["resource"]]
    if len(telemetry.scope_attributes):
        nearer = read_scopes(telemetry, attribution)[records["scope"]]
        of_resource = of_resource.with_columns(pl.coalesce(nearer[who], who).alias(who) for who in WHO)
    return of_resource.rename({who: f"resource_{who}" for who in (*WHO, "region")}).get_columns()


def _scoped(telemetry: Telemetry) -> list[pl.Series]:
    scope = telemetry.records["scope"]
    return [
        pl.Series(name, [s[part] or None for s in telemetry.scopes], dtype=pl.String)[scope]
        for part, name in enumerate(("scope_name", "scope_version"))
    ]


#: Resource attributes with a column of their own.
_SERVICE = {
    "service": ("service.name",), "namespace": ("service.namespace",), "instance": ("service.instance.id",),
    "environment": ("deployment.environment.name", "deployment.environment", "gen_ai.environment", "env"),
}  # fmt: skip


def _service(telemetry: Telemetry) -> pl.DataFrame:
    """Service, environment and emitter of each resource; few enough to be read one by one."""
    count = _count(telemetry.records["resource"])
    found: list[dict[str, str]] = [{} for _ in range(count)]
    of = telemetry.resources
    texts = of.texts(np.arange(len(of)), telemetry.keys).to_pylist()
    for row, key, text in zip(of.row.tolist(), of.key.tolist(), texts, strict=True):
        if row < count and text:
            found[row].setdefault(telemetry.keys[key], text[:512])
    columns = {
        name: [next((attributes[key] for key in keys if key in attributes), None) for attributes in found]
        for name, keys in _SERVICE.items()
    }
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    emitter = pl.concat_str([pl.col(name).fill_null("") for name in ("namespace", "service", "instance")], separator="/")
    return frame.select("service", pl.col("environment").alias("resource_environment"), emitter.alias("emitter"))


def _count(indexes: pl.Series) -> int:
    return int(indexes.to_numpy().max()) + 1


def _linked(links: pl.DataFrame) -> pl.DataFrame:
    ids = identity.of_spans(links["trace_id"].fill_null(""), links["span_id"].fill_null(""))
    return links.select(
        ids.alias("entry_id"),
        pl.lit("link").alias("role"),
        pl.lit("traces").alias("signal"),
        "trace_id",
        "span_id",
        "parent_span_id",
    )


def _spoken(frame: pl.DataFrame, settled: Sequence[CachedInput]) -> pl.LazyFrame:
    """Spans and log records with what they are taken for and what they say."""
    frame = frame.filter(pl.col("signal") != "metrics")
    is_log = pl.col("signal") == "logs"
    frame = frame.with_columns(
        pl.when(is_log)
        .then(pl.coalesce("event", "given_name", "text"))
        .otherwise("given_name")
        .str.slice(0, LONGEST_REST)
        .alias("name")
    )
    return _roles(_outcomes(normalise(decided(_known_by_event(frame)), settled)))


def _known_by_event(frame: pl.DataFrame) -> pl.DataFrame:
    """Log records with an id of their vendor's are known by it, however their second delivery differs."""
    rows = (frame["event_id"].is_not_null() & (frame["signal"] == "logs")).arg_true()
    if not rows.len():
        return frame
    told = frame.select(pl.col("emitter").fill_null(""), "event_id")[rows].iter_rows()
    digests = [blake2b("/".join(pair).encode(), digest_size=16).hexdigest() for pair in told]
    return frame.with_columns(frame["digest"].scatter(rows, digests))


def _finished(said: pl.LazyFrame, telemetry: Telemetry, fields: Fields, attribution: Attribution) -> pl.DataFrame:
    # To search so wide a plan for savings costs more than it saves.
    frame = _identified(_times(said)).collect(optimizations=pl.QueryOptFlags.none())
    return with_rest(with_tags(frame, telemetry, attribution), telemetry, fields)


def _outcomes(frame: pl.LazyFrame) -> pl.LazyFrame:
    said_wrong = pl.col("error_text").is_not_null() & ~pl.col("error_text").is_in(
        ["DEFAULT", "DEBUG", "WARNING", "false", "False"]
    )
    failed = (
        (pl.col("span_status") == 2).fill_null(False)
        | pl.col("error_type").is_not_null()
        | said_wrong
        | pl.col("fails").fill_null(False)
        | (pl.col("status") >= 400).fill_null(False)
    )
    reason = pl.col("finish_reason").str.strip_chars('[]" ').str.replace(r'"?\s*,.*$', "")
    return frame.with_columns(
        failed.alias("failed"),
        pl.when(failed)
        .then(
            pl.coalesce(
                "error_type",
                "exception",
                pl.when(pl.col("status") >= 400).then(pl.col("status").cast(pl.String)),
                pl.when(said_wrong & (pl.col("error_text") != "ERROR")).then(pl.col("error_text").str.slice(0, 128)),
                pl.lit("_OTHER"),
            )
        )
        .alias("error_type"),
        pl.when(reason != "").then(reason).alias("finish_reason"),
    )


def _roles(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Roles with what the record says taken into account: a leaf that answers nothing is no call; one that counts wrongly is."""
    said = pl.col("input").is_not_null() | pl.col("output").is_not_null()
    responded = pl.any_horizontal(pl.col(proof).is_not_null() & pl.col(f"{proof}_proves") for proof in PROOFS)
    leaf = pl.col("role") == "leaf"
    nothing = leaf & ~said & ~pl.col("failed") & ~responded & ~pl.col("tokens_invalid")
    hit = pl.col("cache_hit").str.to_lowercase() == "true"
    around = pl.col("role").is_in(["agent", "span"]) | (pl.col("role").is_null())
    frame = frame.with_columns(
        # A total that outlives the span it stands on says nothing about the calls below it.
        pl.when(around & (pl.col("sums") == "running")).then(False).otherwise(said).alias("said"),
        (around & said & (pl.col("sums") == "last")).alias("partial_sum"),
        pl.when(leaf & hit.fill_null(False))
        .then(pl.lit("never"))
        .when(nothing)
        .then(pl.lit("span"))
        .otherwise(pl.col("role").fill_null("span"))
        .alias("role"),
    )
    # A log record bounds nothing and is nobody's parent: it is a call, or it is nothing.
    return frame.filter((pl.col("signal") == "traces") | pl.col("role").is_in(["leaf", "repeat", "correction"])).with_columns(
        ((pl.col("role") == "leaf") & ~pl.col("said") & ~pl.col("failed")).alias("usage_unknown")
    )


def _times(frame: pl.LazyFrame) -> pl.LazyFrame:
    """`started` and `ended` in microseconds since 1970; a time that cannot be gives way to that of arrival."""
    arrived = pl.col("received_at").dt.epoch("us")
    lasted = pl.coalesce("duration", "duration_ms")
    lasted = pl.when(lasted <= 86_400).then((lasted * 1e6).cast(pl.Int64))
    is_log = pl.col("signal") != "traces"
    end = pl.when(pl.col("end") > 0).then("end").otherwise("observed") // 1000
    start = pl.when(is_log).then(None).otherwise(pl.col("start") // 1000)
    frame = frame.with_columns(
        start.cast(pl.Int64, strict=False).alias("started"),
        end.cast(pl.Int64, strict=False).alias("ended"),
        lasted.alias("lasted"),
    )
    instant = is_log | (pl.col("started") == pl.col("ended"))
    frame = frame.with_columns(
        pl.when(instant & pl.col("lasted").is_not_null())
        .then(pl.col("ended") - pl.col("lasted"))
        .when(is_log)
        .then("ended")
        .otherwise("started")
        .alias("started")
    )
    sound = (pl.col("started") >= int(EARLIEST.timestamp() * 1e6)) & (
        pl.col("started") <= arrived + int(LATEST_SKEW.total_seconds() * 1e6)
    )
    sound = sound.fill_null(False)
    backwards = (pl.col("ended") < pl.col("started")) | (pl.col("ended") > arrived + int(LATEST_SKEW.total_seconds() * 1e6))
    return frame.with_columns(
        (~sound | backwards.fill_null(True)).alias("time_implausible"),
        pl.when(sound).then("started").otherwise(arrived).alias("started"),
        pl.when(sound & ~backwards.fill_null(True)).then("ended").when(sound).then("started").otherwise(arrived).alias("ended"),
    )


def _identified(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Entry ids; ids of spans that are none are left out."""
    trace, span = pl.col("trace_id"), pl.col("span_id")
    whole = (trace.str.len_bytes() == 32) & (span.str.len_bytes() == 16) & (trace != "0" * 32) & (span != "0" * 16)
    frame = frame.with_columns(
        pl.when((trace.str.len_bytes() == 32) & (trace != "0" * 32)).then(trace).alias("trace_id"),
        pl.when((span.str.len_bytes() == 16) & (span != "0" * 16)).then(span).alias("span_id"),
        pl.when((pl.col("parent_span_id").str.len_bytes() == 16) & (pl.col("parent_span_id") != span))
        .then("parent_span_id")
        .alias("parent_span_id"),
        (~whole.fill_null(False) & (pl.col("signal") == "traces")).alias("ids_invalid"),
    )
    of_span = (pl.col("signal") == "traces") & ~pl.col("ids_invalid")
    return frame.with_columns(pl.when(of_span).then("span_entry").otherwise("digest").alias("entry_id"))
