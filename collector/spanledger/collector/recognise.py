"""Tell which spans, log records and metric points are about calls, and read them into the columns of the ledger.

By columns: what is decided once for each distinct scope, name or value is decided in Python, the rest in Polars.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from spanledger.collector import identity, names, roles
from spanledger.collector.assumptions import CachedInput
from spanledger.collector.attribution import Attribution
from spanledger.collector.decode import Telemetry
from spanledger.collector.dialects import DIALECTS
from spanledger.collector.dialects.fields import WHO
from spanledger.collector.embedded import cost_in
from spanledger.collector.emitters import dialects_of
from spanledger.collector.fields import Fields, read_fields, read_resources, read_scopes
from spanledger.collector.leftovers import LONGEST_REST, with_rest, with_tags
from spanledger.collector.nested import opened
from spanledger.collector.payee import paid
from spanledger.collector.points import metric_records
from spanledger.collector.shapes import Shapes
from spanledger.collector.usage import FLAGS, normalise
from spanledger.ledger.frame import COLUMNS

#: Before this no model was called over an API; later than this after its arrival no clock is merely slow.
EARLIEST = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
LATEST_SKEW = timedelta(days=1)


#: What evidence holds beside the columns of an entry.
EXTRA: dict[str, Any] = {
    "role": pl.String,
    "name": pl.String,
    "family": pl.String,
    "emitter": pl.String,
    "started": pl.Int64,
    "ended": pl.Int64,
    "said": pl.Boolean,
    "detail": pl.Int64,
    "rank": pl.Int64,
    "status": pl.Int64,
    "cumulative": pl.Boolean,
    "synthetic": pl.Boolean,
    "series": pl.String,
    **{f"resource_{who}": pl.String for who in WHO},
}

EVIDENCE: dict[str, Any] = {**COLUMNS, **EXTRA}


def recognise(telemetry: Telemetry, attribution: Attribution | None = None, settled: Sequence[CachedInput] = ()) -> pl.DataFrame:
    """Evidence: one row for each record that says something about a call or who it is for; `role` says what it was taken for."""
    attribution = attribution or Attribution()
    if telemetry.records.is_empty():
        return pl.DataFrame(schema=EVIDENCE)
    telemetry = opened(telemetry)
    shapes = Shapes.of(telemetry.attributes, telemetry.records.height)
    dialect, proved = dialects_of(telemetry, shapes)
    fields = read_fields(telemetry, shapes, dialect, attribution.table())
    records = telemetry.records.rename({"status": "span_status", "name": "given_name"})
    frame = pl.concat([records, fields.columns], how="horizontal").with_columns(
        pl.int_range(pl.len()).alias("at"),
        pl.Series("dialect", dialect),
        pl.Series("proved", proved),
        pl.Series("tokens_invalid", fields.invalid),
        pl.Series("text_cut", fields.cut),
        *telemetry.bodies[records["body"]].drop("sequence").get_columns(),
        *_scoped(telemetry),
        *_around(telemetry, attribution),
        *_service(telemetry)[records["resource"]].get_columns(),
    )
    evidence = _columns(_finished(_spoken(frame, settled), telemetry, fields, attribution))
    measured = metric_records(frame, telemetry)
    if not measured.is_empty():
        measured = _finished(_outcomes(normalise(paid(measured), settled)), telemetry, fields, attribution)
        evidence = pl.concat([evidence, _columns(measured)])
    return evidence if telemetry.links.is_empty() else pl.concat([evidence, _linked(telemetry.links)], how="diagonal_relaxed")


def _around(telemetry: Telemetry, attribution: Attribution) -> list[pl.Series]:
    """What a record's scope says of whom its calls are for, else its resource: `resource_<dimension>`, `resource_region`."""
    records, table = telemetry.records, attribution.table()
    of_resource = read_resources(telemetry, table)[records["resource"]]
    if len(telemetry.scope_attributes):
        nearer = read_scopes(telemetry, table)[records["scope"]]
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


def _spoken(frame: pl.DataFrame, settled: Sequence[CachedInput]) -> pl.DataFrame:
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
    return _roles(_outcomes(normalise(paid(roles.classify(frame)), settled)))


def _finished(frame: pl.DataFrame, telemetry: Telemetry, fields: Fields, attribution: Attribution) -> pl.DataFrame:
    frame = _ranked(_identified(_times(frame)))
    return with_rest(with_tags(frame, telemetry, attribution), telemetry, fields)


def _outcomes(frame: pl.DataFrame) -> pl.DataFrame:
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


_ANSWERS = [pl.Series(name, [name in d.answers for d in DIALECTS]) for name in ("response_model", "response_id", "finish_reason")]
_CUMULATIVE = pl.Series("cumulative", [bool(d.cumulative) for d in DIALECTS])
_SUMS = pl.Series("sums", [d.sums for d in DIALECTS])


def _roles(frame: pl.DataFrame) -> pl.DataFrame:
    """Roles with what the record says taken into account: a leaf that answers nothing is no call; one that counts wrongly is."""
    said = pl.col("input").is_not_null() | pl.col("output").is_not_null()
    responded = pl.any_horizontal(pl.col(proof.name).is_not_null() & proof[frame["dialect"]] for proof in _ANSWERS)
    leaf = pl.col("role") == "leaf"
    nothing = leaf & ~said & ~pl.col("failed") & ~responded & ~pl.col("tokens_invalid")
    hit = pl.col("cache_hit").str.to_lowercase() == "true"
    sums = _SUMS[frame["dialect"]]
    around = pl.col("role").is_in(["agent", "span"]) | (pl.col("role").is_null())
    frame = frame.with_columns(_CUMULATIVE[frame["dialect"]]).with_columns(
        # A total that outlives the span it stands on says nothing about the calls below it.
        pl.when(around & (sums == "running")).then(False).otherwise(said).alias("said"),
        (around & said & (sums == "last")).alias("partial_sum"),
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


def _times(frame: pl.DataFrame) -> pl.DataFrame:
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


def _identified(frame: pl.DataFrame) -> pl.DataFrame:
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
    of_span = identity.of_spans(frame["trace_id"].fill_null(""), frame["span_id"].fill_null(""))
    told = frame.select(
        pl.when((pl.col("signal") == "traces") & ~pl.col("ids_invalid")).then(of_span).otherwise("digest").alias("entry_id")
    )["entry_id"]
    return frame.with_columns(told)


def _ranked(frame: pl.DataFrame) -> pl.DataFrame:
    distinct = frame.select("dialect", "signal", "family").unique()
    table = distinct.with_columns(
        pl.Series("rank", [DIALECTS[d].authority.index(s) for d, s, _ in distinct.iter_rows()], dtype=pl.Int64),
        pl.Series("synthetic", [f in DIALECTS[d].synthetic_ids for d, _, f in distinct.iter_rows()], dtype=pl.Boolean),
    )
    return frame.join(table, on=["dialect", "signal", "family"], how="left", maintain_order="left")


def _flagged(frame: pl.DataFrame) -> pl.Series:
    """The flags that are raised, as lists; few combinations occur."""
    raised = [name for name in FLAGS if name in frame.columns and frame[name].any()]
    code = np.zeros(frame.height, dtype=np.int64)
    for bit, name in enumerate(raised):
        code |= frame[name].fill_null(False).to_numpy().astype(np.int64) << bit
    codes, inverse = np.unique(code, return_inverse=True)
    lists = [[name for bit, name in enumerate(raised) if value >> bit & 1] for value in codes.tolist()]
    return pl.Series("flags", lists, dtype=pl.List(pl.String)).gather(pl.Series(inverse))


def _columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the columns of `EVIDENCE`."""
    cost = pl.coalesce("cost", "cost_micros", names.mapped(frame["raw_cost"], _cost_text).cast(pl.Float64))
    lasted = (pl.col("ended") - pl.col("started")) / 1e6
    details = (
        "cache_read",
        "cache_write",
        "cache_write_5m",
        "cache_write_1h",
        "reasoning",
        "input_audio",
        "response_id",
        "ttft",
        "service_tier",
    )
    moment = pl.from_epoch("started", time_unit="us").dt.replace_time_zone("UTC")
    given = {
        "occurred_at": moment,
        "day": moment.dt.date(),
        "recorded_at": pl.col("received_at"),
        "environment": pl.coalesce("environment", "resource_environment"),
        "duration_seconds": pl.when(~pl.col("time_implausible")).then(lasted),
        "time_to_first_token_seconds": pl.coalesce("ttft", "ttft_ms"),
        "dialect": pl.Series("dialect", [d.name for d in DIALECTS], dtype=pl.String)[frame["dialect"]],
        "granularity": pl.when(pl.col("role") == "metric").then(pl.lit("metric")).otherwise(pl.lit("call")),
        "calls": pl.col("calls") if "calls" in frame.columns else pl.col("batch_calls"),
        "attempt": pl.when(pl.col("attempt").is_between(1, 1000)).then("attempt"),
        "streamed": pl.col("streamed").str.to_lowercase() == "true",
        "batch": pl.col("batch").str.to_lowercase() == "true",
        "response_id": pl.when(~pl.col("synthetic") & ~((pl.col("dialect") == _LITELLM) & pl.col("failed"))).then("response_id"),
        "input_tokens": pl.col("input"),
        "output_tokens": pl.col("output"),
        "cache_read_tokens": pl.col("cache_read"),
        "cache_write_tokens": pl.col("cache_write"),
        "cache_write_5m_tokens": pl.col("cache_write_5m"),
        "cache_write_1h_tokens": pl.col("cache_write_1h"),
        "reasoning_tokens": pl.col("reasoning"),
        "input_audio_tokens": pl.col("input_audio"),
        "output_audio_tokens": pl.col("output_audio"),
        "cache_read_audio_tokens": pl.col("cache_read_audio"),
        "variant": _variant(frame),
        "input_image_tokens": pl.col("input_image"),
        "output_image_tokens": pl.col("output_image"),
        "input_video_tokens": pl.col("input_video"),
        "reported_cost_usd": pl.when((cost > 0) & (cost < 1e7))
        .then(cost)
        .round(12)
        .cast(COLUMNS["reported_cost_usd"], strict=False),
        "outcome": pl.when("failed").then(pl.lit("error")).otherwise(pl.lit("ok")),
        "tokens_estimated": pl.col("estimated").str.to_lowercase() == "true",
        "cut_short": pl.when(pl.col("cut_short").is_not_null())
        .then(pl.col("cut_short").str.to_lowercase() == "true")
        .when(
            (pl.col("role") == "leaf")
            & pl.col("input").is_not_null()
            & pl.col("output").is_null()
            & (pl.col("streamed").str.to_lowercase() == "true")
        )
        .then(True),
        "detail": pl.sum_horizontal(pl.col(name).is_not_null() for name in details),
        "flags": _flagged(frame),
    }
    given |= {who: pl.col(who).str.strip_chars('"') for who in WHO}
    known: dict[str, Any] = {name: given.get(name, pl.col(name) if name in frame.columns else pl.lit(None)) for name in EVIDENCE}
    return frame.select(
        (pl.lit(value) if isinstance(value, pl.Series) else value).cast(EVIDENCE[name], strict=False).alias(name)
        for name, value in known.items()
    )


def _variant(frame: pl.DataFrame) -> pl.Expr:
    """Quality and size of what was made, as `hd/1024x1024`; what the provider chose by itself is not known."""
    told = [
        pl.when(~pl.col(name).str.to_lowercase().is_in(["auto", "default", ""])).then(pl.col(name).str.to_lowercase())
        for name in ("made_quality", "made_size")
        if frame[name].null_count() < frame.height
    ]
    joined = pl.concat_str(told, separator="/", ignore_nulls=True) if told else pl.lit(None, pl.String)
    return pl.when(joined != "").then(joined)


_LITELLM = next(index for index, dialect in enumerate(DIALECTS) if dialect.name == "litellm")


def _cost_text(raw: str) -> str | None:
    cost = cost_in(raw)
    return None if cost is None else repr(cost)
