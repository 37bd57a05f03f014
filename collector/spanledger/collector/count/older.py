"""Evidence that memory has let go of, found again in the ledger.

A record can only describe a call that ran while it ran, so the ledger is asked about the hours around the record, and
only for records that began before memory does. Files of other hours are left out by their statistics.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import duckdb
import polars as pl
import pyarrow.compute as pc

from spanledger.collector.columns import identity
from spanledger.collector.count.evidence_files import WRITTEN
from spanledger.collector.count.fingerprint import SLACK_MICROS
from spanledger.collector.count.memory import KEPT, as_kept
from spanledger.collector.dialects import DIALECTS
from spanledger.collector.recognise.entry_columns import BESIDE
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import COLUMNS, frame_of

#: How long before a record another one that contains it may have begun.
LONGEST_CALL = timedelta(hours=6)
_SLACK = timedelta(minutes=5)
#: Ids are read from the ledger an hour at a time.
_AT_A_TIME, _ROWS_AT_A_TIME = timedelta(hours=1), 100_000
#: So many postings of a record may be missing among those found.
_NOT_FOUND = 16


#: What a record counts beside others of its call stands among its attributes.
_BESIDE = {name: f'"{key.replace(".", "[.]")}": ([0-9]{{1,18}})' for name, key in BESIDE.items()}
_BESIDE_INPUT = f"""
    case when contains(coalesce(entries.attributes, ''), '{BESIDE["beside_input_tokens"]}')
         then coalesce(try_cast(regexp_extract(entries.attributes, '{_BESIDE["beside_input_tokens"]}', 1) as bigint), 0)
         else 0 end
"""


class LedgerEvidence:
    """Looks entries up in the ledger of a data folder or URL."""

    def __init__(self, data: str | Path, *, storage_options: Mapping[str, str] | None = None) -> None:
        self._data, self._options = data, storage_options

    def find(self, late: pl.DataFrame, *, since: datetime, horizon: int) -> pl.DataFrame:
        """Entries around the time of these records that share a trace, an id, or service and input with one.

        What ended before `horizon` (microseconds) may also lie inside something longer; what ended later can only contain it.
        """
        first, last = late["started"].min(), late["ended"].max()
        if first is None or last is None:
            return pl.DataFrame(schema=COLUMNS)
        delayed = bool((late["ended"] < horizon).any())
        begin = max(since, _moment(cast(int, first)) - (LONGEST_CALL if delayed else _SLACK))
        end = _moment(cast(int, last)) + _SLACK
        # One instrumentation in one signal says a call once (only logs may say it under two names), so equal input alone
        # makes nothing of the same scope and signal worth a look: without this a burst from one emitter recalls all of itself.
        # What ran at another time is none of it either, or hours of equal calls would come with one that is late.
        # Two statements: with "or" between them, the join takes a gigabyte and thrice the time for a million entries.
        statement = f"""
            with speaking as (
                select input_tokens, coalesce(service, '') as service, signal, coalesce(scope_name, '') as scope,
                       started // 60000000 as minute, min(started) - $slack as began, max(ended) + $slack as over
                from late where said and input_tokens is not null group by all
            )
            select entry_id, occurred_at from entries
            where day between $first and $last and occurred_at between $begin and $end
              and (entry_id in (select entry_id from late) or trace_id in (select trace_id from late)
                   or response_id in (select response_id from late) or request_id in (select request_id from late))
            union
            select entry_id, occurred_at from entries semi join speaking
                on speaking.input_tokens = entries.input_tokens - {_BESIDE_INPUT}
                and speaking.service = coalesce(entries.service, '')
                and epoch_us(entries.occurred_at) <= speaking.over
                and epoch_us(entries.occurred_at) + coalesce(duration_seconds, 0) * 1e6 >= speaking.began
                and (speaking.signal = 'logs' or speaking.signal is distinct from entries.signal
                     or speaking.scope <> coalesce(entries.scope_name, ''))
            where day between $first and $last and occurred_at between $begin and $end
        """  # noqa: S608  # all of it stands here
        wanted = late.select(
            "entry_id", "trace_id", "response_id", "request_id", "service", "signal", "scope_name", "started", "ended",
            pl.col("said").fill_null(False), pl.col("input_tokens") - pl.col("beside_input_tokens").fill_null(0),
        ).to_arrow()  # fmt: skip
        with connect(self._data, storage_options=self._options, damaged="leave out") as connection:
            connection.register("late", wanted)
            # A second one holds row groups of its own, and would take the core on which the next batch is read.
            connection.execute("set threads = 1")
            window = {"first": begin.date(), "last": end.date(), "begin": begin, "end": end, "slack": SLACK_MICROS}
            return _whole(connection, connection.sql(statement, params=window))

    def named(self, records: pl.DataFrame, *, since: datetime, came: tuple[datetime, datetime] | None) -> pl.DataFrame:
        """Entries that occurred since then, `came` between those moments, and bear a provider's id of one of these records.

        What came while the ledger could not be written is recorded later than it came, and is looked for if it is not found.
        """
        between = None if came is None else (came[0] - _SLACK, came[1] + _SLACK)
        found = self._bearing(records, since, between)
        if between is not None:
            borne = [records[name].is_in(found[name].drop_nulls().implode()) for name in ("response_id", "request_id")]
            if not (borne[0].fill_null(False) | borne[1].fill_null(False)).all():
                found = self._bearing(records, since, (between[0], datetime.max.replace(tzinfo=UTC)))
        return found

    def _bearing(self, records: pl.DataFrame, since: datetime, recorded: tuple[datetime, datetime] | None) -> pl.DataFrame:
        statement = f"""
            select entry_id, occurred_at from entries
            where day >= $day and occurred_at >= $since {"" if recorded is None else "and recorded_at between $first and $last"}
              and (response_id in (select response_id from named) or request_id in (select request_id from named))
        """  # noqa: S608  # both halves stand here
        window = {} if recorded is None else {"first": recorded[0], "last": recorded[1]}
        with connect(self._data, storage_options=self._options, damaged="leave out") as connection:
            connection.register("named", records.select("response_id", "request_id").to_arrow())
            return _whole(connection, connection.sql(statement, params={"day": since.date(), "since": since, **window}))

    def ids(self, *, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        """`response_id`, `request_id`, `arrived` (microseconds) of entries recorded then, by the hour, the newest first."""
        statement = """
            select response_id, request_id, epoch_us(recorded_at) as arrived from entries
            where recorded_at > $after and recorded_at <= $to and (response_id is not null or request_id is not null)
              and kind in ('call', 'duplicate')
        """
        with connect(self._data, storage_options=self._options, damaged="leave out") as connection:
            while since < until:
                after = max(since, until - _AT_A_TIME)
                told = connection.sql(statement, params={"after": after, "to": until}).to_arrow_reader(_ROWS_AT_A_TIME)
                for batch in told:
                    yield cast(pl.DataFrame, pl.from_arrow(batch))
                until = after

    def entries(self, entry_ids: pl.Series) -> pl.DataFrame:
        """The entries of these ids."""
        with connect(self._data, storage_options=self._options, damaged="leave out") as connection:
            connection.register("wanted", pl.DataFrame({"entry_id": entry_ids}).to_arrow())
            found = connection.sql("select * from entries where entry_id in (select entry_id from wanted)").to_arrow_table()
        return frame_of(found)


def _whole(connection: duckdb.DuckDBPyConnection, found: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """The entries that a statement finds, given by `entry_id` and `occurred_at`.

    Most of the time it finds few or none among a million, and all columns of what it looks at are ten times what it looks by.
    """
    ids = found.to_arrow_table()
    if not len(ids):
        return pl.DataFrame(schema=COLUMNS)
    connection.register("found", ids)
    statement = """
        select * from entries
        where day between $first::date and $last::date and occurred_at between $first and $last
          and entry_id in (select entry_id from found)
    """
    ran = pc.min_max(ids["occurred_at"])
    return frame_of(connection.sql(statement, params={"first": ran["min"].as_py(), "last": ran["max"].as_py()}).to_arrow_table())


def recalled(entries: pl.DataFrame, late: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Entries as the evidence they came from, the calls among them that still stand, and all their other postings (`WRITTEN`)."""
    undone = entries.filter(pl.col("kind") == "reversal").select(pl.col("stands_for").alias("entry_id"))
    told = entries.filter(pl.col("kind").is_in(["call", "duplicate"])).unique("entry_id")
    whole = (pl.col("signal") == "traces") & pl.col("trace_id").is_not_null() & pl.col("span_id").is_not_null()
    of_span = identity.of_spans(told["trace_id"].fill_null(""), told["span_id"].fill_null(""))
    told = told.with_columns(pl.when(whole).then(of_span).otherwise(_first_ids(told)).alias("base_id"))
    stands = told["entry_id"].is_in(undone["entry_id"].implode()).not_() & (told["kind"] == "call")
    past = as_kept(told.filter(~stands), WRITTEN).with_columns(pl.lit("duplicate").alias("kind"))
    return _as_evidence(told, late), as_kept(told.filter(stands), WRITTEN), past


def _first_ids(told: pl.DataFrame) -> pl.Series:
    """For each entry the id under which its record was posted first, which is the record's own, where that is among them.

    All postings of a record say the same of when and by whom, so it was posted no more often than there are such entries, or
    some more if not all of them were found.
    """
    alike = ["occurred_at", "signal", "scope_name", "dialect"]
    often = told.select("entry_id", (pl.len().over(alike) + _NOT_FOUND).alias("times"))
    again = often.with_columns(pl.int_ranges(1, "times").alias("number")).explode("number")
    derived = identity.derived(again["entry_id"], "call", again["number"]).alias("derived")
    named = again.select(pl.col("entry_id").alias("first"), derived).unique("derived")
    found = told.select("entry_id").join(named, left_on="entry_id", right_on="derived", how="left", maintain_order="left")
    return found.select(pl.coalesce("first", "entry_id").alias("first"))["first"]


def _as_evidence(told: pl.DataFrame, late: pl.DataFrame) -> pl.DataFrame:
    # What was posted last says most: an earlier posting of the same record lacks what was learned later.
    ordered = told.sort("kind", "recorded_at", "entry_id", descending=[False, True, False])
    rows = ordered.unique("base_id", keep="first", maintain_order=True)
    duplicate = pl.col("kind") == "duplicate"
    ranks = {(d.name, signal): rank for d in DIALECTS for rank, signal in enumerate(d.authority)}
    rank = pl.Series("rank", [ranks.get(pair, 9) for pair in rows.select("dialect", "signal").iter_rows()], dtype=pl.Int64)
    started = pl.col("occurred_at").dt.epoch("us")
    emitters = late.select("service", "emitter").drop_nulls().unique("service")
    beside = [pl.col("attributes").str.extract(told).cast(pl.Int64, strict=False).alias(name) for name, told in _BESIDE.items()]
    said = pl.coalesce("claimed_input_tokens", "input_tokens", "claimed_output_tokens", "output_tokens").is_not_null()
    role = (
        pl.when(pl.col("rule").is_in(["repeat"])).then(pl.lit("repeat"))
        .when(pl.col("rule") == "never_billed").then(pl.lit("never"))
        .when((pl.col("rule") == "aggregate") | (pl.col("granularity") == "aggregate")).then(pl.lit("agent"))
        .when(pl.col("granularity") == "metric").then(pl.lit("metric"))
        .otherwise(pl.lit("leaf"))
    )  # fmt: skip
    return (
        rows.join(emitters, on="service", how="left", maintain_order="left")
        .with_columns(
            *beside,
            role.alias("role"),
            said.alias("said"),
            rank,
            started.alias("started"),
            (started + (pl.col("duration_seconds").fill_null(0) * 1e6).cast(pl.Int64)).alias("ended"),
            pl.col("recorded_at").dt.epoch("us").alias("arrived"),
            pl.when(duplicate).then("claimed_input_tokens").otherwise("input_tokens").alias("input_tokens"),
            pl.when(duplicate).then("claimed_output_tokens").otherwise("output_tokens").alias("output_tokens"),
            pl.when(duplicate).then("claimed_cost_usd").otherwise("reported_cost_usd").alias("reported_cost_usd"),
            (
                pl.sum_horizontal(pl.col(name).is_not_null() for name in _DETAILS)
                + 16 * pl.any_horizontal(each > 0 for each in beside).fill_null(False)
            )
            .cast(pl.Int64)
            .alias("detail"),
            pl.lit(False).alias("cumulative"),
            pl.when(pl.col("granularity") != "metric").then(pl.lit("call")).otherwise("granularity").alias("granularity"),
            pl.coalesce("emitter", pl.concat_str(pl.lit("/"), pl.col("service").fill_null(""), pl.lit("/"))).alias("emitter"),
        )
        .drop("entry_id")
        .rename({"base_id": "entry_id"})
        .with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in ("kind", "reason", "rule", "stands_for"))
        .select(
            (pl.col(name) if name in (*COLUMNS, *_MADE) else pl.lit(None)).cast(kind).alias(name) for name, kind in KEPT.items()
        )
    )


#: As `entry_columns` counts them.
_DETAILS = (
    "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "reasoning_tokens",
    "input_audio_tokens", "response_id", "time_to_first_token_seconds", "service_tier",
)  # fmt: skip
_MADE = (*BESIDE, "role", "said", "rank", "started", "ended", "arrived", "detail", "cumulative", "emitter")


def _moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
