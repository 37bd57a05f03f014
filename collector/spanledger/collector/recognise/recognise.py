"""Tell which spans, log records and metric points are about calls, and read them into the columns of the ledger.

By columns: what is decided once for each distinct scope, name or value is decided in Python, the rest in Polars.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import cast

import numpy as np
import polars as pl

from spanledger.collector.columns import identity
from spanledger.collector.columns.ancestry import PARENTS_CYCLE
from spanledger.collector.columns.chunks import stacked
from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.dialects.fields import WHO
from spanledger.collector.recognise.assumptions import CachedInput
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.decided import PROOFS, decided
from spanledger.collector.recognise.emitters import dialects_of
from spanledger.collector.recognise.entry_columns import EVIDENCE, evidence_of
from spanledger.collector.recognise.fields import LONGEST_TEXT, Fields, read_fields, read_resources, read_scopes
from spanledger.collector.recognise.leftovers import LONGEST_REST, with_rest, with_tags
from spanledger.collector.recognise.names import mapped
from spanledger.collector.recognise.nested import opened
from spanledger.collector.recognise.points import metric_records
from spanledger.collector.recognise.shapes import Shapes
from spanledger.collector.recognise.usage import normalise

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
    scopes = scopes_of(telemetry)[telemetry.records["scope"]]
    service = _service(telemetry)[telemetry.records["resource"]]
    records = telemetry.records.rechunk().rename({"status": "span_status", "name": "given_name"})
    frame = records.with_columns(
        *fields.columns,
        pl.int_range(pl.len()).alias("at"),
        identity.of_spans(records["trace_id"], records["span_id"]).alias("span_entry"),
        pl.Series("dialect", dialect),
        pl.Series("proved", proved),
        pl.Series("tokens_invalid", fields.invalid),
        pl.Series("cost_invalid", fields.cost_invalid),
        pl.Series("text_cut", fields.cut) | scopes["cut"] | service["cut"],
        *telemetry.bodies[records["body"]].drop("sequence").get_columns(),
        *scopes.drop("cut").get_columns(),
        *_around(telemetry, attribution),
        *service.drop("cut").get_columns(),
    )
    points = frame["signal"] == "metrics"
    spoken = frame.filter(~points) if points.any() else frame
    evidence = evidence_of(_finished(_spoken(spoken, settled), telemetry, fields, attribution))
    measured = metric_records(frame.filter(points), telemetry) if points.any() else frame[:0]
    if not measured.is_empty():
        said = normalise(decided(measured, points=True), settled).with_columns(_TOLD).with_columns(_BEGUN)
        evidence = stacked([evidence, evidence_of(_finished(said, telemetry, fields, attribution))], EVIDENCE)
    return evidence if telemetry.links.is_empty() else stacked([evidence, _linked(telemetry.links)], EVIDENCE)


def _around(telemetry: Telemetry, attribution: Attribution) -> list[pl.Series]:
    """What a record's scope says of whom its calls are for, else its resource: `resource_<dimension>`, `resource_region`."""
    records = telemetry.records
    of_resource = read_resources(telemetry, attribution)[records["resource"]]
    if len(telemetry.scope_attributes):
        nearer = read_scopes(telemetry, attribution)
        said = [who for who in WHO if nearer[who].null_count() < nearer.height]
        nearer = nearer[said][records["scope"]]
        of_resource = of_resource.with_columns(pl.coalesce(nearer[who], who).alias(who) for who in said)
    return of_resource.rename({who: f"resource_{who}" for who in (*WHO, "region")}).get_columns()


def scopes_of(telemetry: Telemetry) -> pl.DataFrame:
    """Of each scope `scope_name` and `scope_version`, null for none and no longer than any name, and whether one was `cut`."""
    told = {
        name: pl.Series([scope[part][:LONGEST_TEXT] or None for scope in telemetry.scopes], dtype=pl.String)
        for part, name in enumerate(("scope_name", "scope_version"))
    }
    cut = [max(map(len, scope)) > LONGEST_TEXT for scope in telemetry.scopes]
    return pl.DataFrame({**told, "cut": pl.Series(cut, dtype=pl.Boolean)})


#: Resource attributes with a column of their own.
_SERVICE = {
    "service": ("service.name",), "namespace": ("service.namespace",), "instance": ("service.instance.id",),
    "environment": ("deployment.environment.name", "deployment.environment", "gen_ai.environment", "env"),
    "host": ("host.name",), "process": ("process.pid",),
}  # fmt: skip


def _service(telemetry: Telemetry) -> pl.DataFrame:
    """Service, environment, emitter and place of each resource, and whether one of their names was `cut`."""
    of, keys, count = telemetry.resources, telemetry.keys, _count(telemetry.records["resource"])
    texts = cast(pl.Series, pl.from_arrow(of.spelled(np.arange(len(of)), keys)))
    length = texts.str.len_bytes().fill_null(0).to_numpy()
    shorter = np.zeros(len(of) + 1, dtype=bool)
    if length.max(initial=0) > LONGEST_TEXT:  # more bytes need not be more characters
        whole, texts = texts, texts.str.slice(0, LONGEST_TEXT)
        shorter[:-1] = (texts.str.len_bytes() < whole.str.len_bytes()).fill_null(False).to_numpy()
    cut = np.zeros(count, dtype=bool)
    said = (length > 0) & (of.row < count)
    # Behind the last text stands nothing.
    texts = pl.concat([texts, pl.Series([None], dtype=pl.String)])
    columns: dict[str, pl.Series] = {}
    for column, names in _SERVICE.items():
        found = np.full(count, len(of), dtype=np.uint32)
        for name in reversed(names):
            at = np.flatnonzero(said & (of.key == keys.index(name)))[::-1] if name in keys else of.key[:0]
            found[of.row[at]] = at
        columns[column] = texts[pl.Series(found)]
        cut |= shorter[found]
    frame = pl.DataFrame({**columns, "cut": cut})
    emitter = pl.concat_str([pl.col(name).fill_null("") for name in ("namespace", "service", "instance")], separator="/")
    environment = pl.col("environment").alias("resource_environment")
    return frame.select("service", environment, emitter.alias("emitter"), "host", "process", "cut")


def _count(indexes: pl.Series) -> int:
    return int(indexes.to_numpy().max()) + 1


def _linked(links: pl.DataFrame) -> pl.DataFrame:
    return links.with_columns(
        identity.of_spans(links["trace_id"], links["span_id"]).alias("entry_id"),
        pl.lit("link").alias("role"),
        pl.lit("traces").alias("signal"),
    )


def _spoken(frame: pl.DataFrame, settled: Sequence[CachedInput]) -> pl.LazyFrame:
    """Spans and log records with what they are taken for and what they say."""
    logged = (frame["signal"] == "logs").any()
    name = pl.col("given_name")
    if logged:
        name = pl.when(pl.col("signal") == "logs").then(pl.coalesce("event", name, "text")).otherwise(name)
    frame = frame.with_columns(name.str.slice(0, LONGEST_REST).alias("name"), mapped(frame["finish_reason"], _first_reason))
    frame = decided(_known_by_event(frame) if logged else frame)
    said = normalise(frame, settled).with_columns(_TOLD).with_columns(*_ROLE, *_BEGUN)
    if not logged:
        return said
    # A log record bounds nothing and is nobody's parent: it is a call, or it is nothing.
    return said.filter((pl.col("signal") == "traces") | pl.col("role").is_in(["leaf", "repeat", "correction"]))


def _first_reason(said: str) -> str | None:
    """The first of several reasons, as a list of JSON or Python spells them."""
    return re.sub(r'"?\s*,.*\Z', "", said.strip('[]" '), count=1) or None


def _known_by_event(frame: pl.DataFrame) -> pl.DataFrame:
    """Log records with an id of their vendor's are known by it, however their second delivery differs."""
    rows = (frame["event_id"].is_not_null() & (frame["signal"] == "logs")).arg_true()
    if not rows.len():
        return frame
    told = frame.select(pl.col("emitter").fill_null(""), "event_id")[rows].iter_rows()
    digests = [blake2b("/".join(pair).encode(), digest_size=16).hexdigest() for pair in told]
    return frame.with_columns(frame["digest"].scatter(rows, digests))


def _finished(said: pl.LazyFrame, telemetry: Telemetry, fields: Fields, attribution: Attribution) -> pl.DataFrame:
    # The other engine leaves columns in pieces, which whatever is done with the frame puts together anew: 2 ms each time.
    frame = said.with_columns(_ENDED).collect(engine="in-memory", optimizations=_SAVINGS)
    return with_rest(with_tags(frame, telemetry, attribution), telemetry, fields)


def _outcome() -> list[pl.Expr]:
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
    return [
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
    ]


def _role() -> list[pl.Expr]:
    """Roles with what the record says taken into account: a leaf that answers nothing is no call; one that counts wrongly is."""
    said = pl.col("input").is_not_null() | pl.col("output").is_not_null()
    responded = pl.any_horizontal(pl.col(proof).is_not_null() & pl.col(f"{proof}_proves") for proof in PROOFS)
    leaf = pl.col("role") == "leaf"
    nothing = leaf & ~said & ~pl.col("failed") & ~responded & ~pl.col("tokens_invalid")
    hit = (pl.col("cache_hit").str.to_lowercase() == "true").fill_null(False)
    around = pl.col("role").is_in(["agent", "span"]) | (pl.col("role").is_null())
    return [
        # A total that outlives the span it stands on says nothing about the calls below it.
        pl.when(around & (pl.col("sums") == "running")).then(False).otherwise(said).alias("said"),
        (around & said & (pl.col("sums") == "last")).alias("partial_sum"),
        (leaf & ~hit & ~nothing & ~said & ~pl.col("failed")).fill_null(False).alias("usage_unknown"),
        pl.when(leaf & hit)
        .then(pl.lit("never"))
        .when(nothing)
        .then(pl.lit("span"))
        .otherwise(pl.col("role").fill_null("span"))
        .alias("role"),
    ]


_ARRIVED = pl.col("received_at").dt.epoch("us")
_AHEAD = _ARRIVED + int(LATEST_SKEW.total_seconds() * 1e6)


def _raw_times() -> list[pl.Expr]:
    """`started`, `ended` and `lasted` as sent, in microseconds."""
    lasted = pl.coalesce("duration", "duration_ms")
    lasted = pl.when(lasted <= 86_400).then((lasted * 1e6).cast(pl.Int64))
    end = pl.when(pl.col("end") > 0).then("end").otherwise("observed") // 1000
    start = pl.when(pl.col("signal") == "traces").then(pl.col("start") // 1000)
    return [
        start.cast(pl.Int64, strict=False).alias("started"),
        end.cast(pl.Int64, strict=False).alias("ended"),
        lasted.alias("lasted"),
    ]


def _begun() -> list[pl.Expr]:
    """`started` of what has only an end and a duration."""
    is_log = pl.col("signal") != "traces"
    instant = is_log | (pl.col("started") == pl.col("ended"))
    return [
        pl.when(instant & pl.col("lasted").is_not_null())
        .then(pl.col("ended") - pl.col("lasted"))
        .when(is_log)
        .then("ended")
        .otherwise("started")
        .alias("started"),
        pl.when((pl.col("signal") == "traces") & ~pl.col("ids_invalid")).then("span_entry").otherwise("digest").alias("entry_id"),
    ]


def _ended() -> list[pl.Expr]:
    """`started` and `ended` in microseconds since 1970; a time that cannot be gives way to that of arrival."""
    sound = (pl.col("started") >= int(EARLIEST.timestamp() * 1e6)) & (pl.col("started") <= _AHEAD)
    sound = sound.fill_null(False)
    backwards = ((pl.col("ended") < pl.col("started")) | (pl.col("ended") > _AHEAD)).fill_null(True)
    return [
        (~sound | backwards).alias("time_implausible"),
        pl.when(sound).then("started").otherwise(_ARRIVED).alias("started"),
        pl.when(sound & ~backwards).then("ended").when(sound).then("started").otherwise(_ARRIVED).alias("ended"),
    ]


def _ids() -> list[pl.Expr]:
    """Ids of traces and spans; those that are none are left out."""
    trace, span, parent = pl.col("trace_id"), pl.col("span_id"), pl.col("parent_span_id")
    traced = (trace.str.len_bytes() == 32) & (trace != "0" * 32)
    known = (span.str.len_bytes() == 16) & (span != "0" * 16)
    return [
        pl.when(traced).then(trace).alias("trace_id"),
        pl.when(known).then(span).alias("span_id"),
        pl.when((parent.str.len_bytes() == 16) & (parent != span)).then(parent).alias("parent_span_id"),
        (~(traced & known).fill_null(False) & (pl.col("signal") == "traces")).alias("ids_invalid"),
        (known & (parent == span)).fill_null(False).alias(PARENTS_CYCLE),
    ]


#: To search so wide a plan for other savings costs more than it saves.
_SAVINGS = pl.QueryOptFlags.none()
_SAVINGS.comm_subexpr_elim = True

#: What is told of all records in turn, made once: to make them takes as long as to compute them for a thousand records.
_TOLD, _ROLE, _BEGUN, _ENDED = [*_outcome(), *_raw_times(), *_ids()], _role(), _begun(), _ended()
