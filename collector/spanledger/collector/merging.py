"""What a standing call learns from the records that repeat it, from what stands above it, and from its resource."""

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.ancestry import Ancestry
from spanledger.collector.dialects.fields import WHO
from spanledger.collector.evidence import CORRECTION, Evidence, among
from spanledger.collector.sums import of_one_moment
from spanledger.ledger.frame import COLUMNS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: What a standing call takes over from the records that repeat it, where it does not know better itself.
MERGED = (
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "input_image_tokens",
    "output_image_tokens",
    "model",
    "requested_model",
    "provider",
    "response_id",
    "request_id",
    "hold_id",
    "variant",
    "service_tier",
    "region",
    "server_address",
    "finish_reason",
    "reported_cost_usd",
    "time_to_first_token_seconds",
    "streamed",
    "batch",
    "duration_seconds",
    *WHO,
    "environment",
    "service",
    "attributes",
)

#: What a call is made of, beside the columns of an entry: whom its resource is for, and what decides how it is told.
_NEEDED = (*COLUMNS, "role", "ended", "series", *(f"resource_{who}" for who in WHO))


def merged(evidence: Evidence, leaves: Flags, stands: Flags, label: Ints, ancestry: Ancestry) -> tuple[pl.DataFrame, Flags]:
    """The standing rows, with what their duplicates and ancestors know besides; and which rows stand just as they are.

    `label[i]` is the call that row i describes.
    """
    rows = np.flatnonzero(stands)
    there = set(evidence.columns)
    calls = evidence.take(rows, [name for name in _NEEDED if name in there]).with_columns(pl.Series("row", rows))
    counts = np.bincount(label[leaves], minlength=evidence.height)
    several = leaves & (counts[label] > 1)
    grouped = np.flatnonzero(several[rows])
    plain = np.zeros(evidence.height, dtype=bool)
    plain[rows] = leaves[rows] & ~several[rows] & ~evidence.narrow["cumulative"][rows]
    members = np.zeros(0, dtype=np.int64)
    if len(grouped):
        spoken = np.zeros(evidence.height, dtype=bool)
        spoken[label[rows[grouped]]] = True
        members = np.flatnonzero(several & spoken[label])
        calls = _put(calls, grouped, _shared(evidence, calls[pl.Series(grouped)], rows[grouped], members, label, ancestry))
    calls, learned = _inherited(evidence, calls, rows, members, label, ancestry)
    calls = of_one_moment(_corrected(calls, evidence), evidence)
    plain[rows[learned]] = False
    plain &= ~among(evidence.narrow["response"], _taken_back(evidence))
    return as_told(calls), plain


def as_told(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls as they are posted: with whom their resource is for where nobody is named, and how much they sum up."""
    calls = calls.with_columns(
        pl.coalesce(who, f"resource_{who}").alias(who) for who in WHO if calls[f"resource_{who}"].null_count() < calls.height
    )
    role = calls["role"]
    summed = role.is_in(["agent", "span"])
    metered = role == "metric"
    many = (calls["calls"] > 1).fill_null(False)
    if (summed | metered | many).any():
        told = pl.when(metered).then(pl.lit("metric")).when(summed | many).then(pl.lit("aggregate")).otherwise("granularity")
        calls = calls.with_columns(told.alias("granularity"))
    # A metric's point and the span of a batch may stand for many calls.
    return calls.with_columns(pl.col("calls").fill_null(1))


def _put(calls: pl.DataFrame, at: Ints, told: pl.DataFrame) -> pl.DataFrame:
    """The calls, of which those at these places say this instead."""
    here = np.zeros(calls.height, dtype=bool)
    here[at] = True
    index = np.zeros(calls.height, dtype=np.int64)
    index[at] = np.arange(len(at))
    place, mask = pl.Series(index), pl.Series(here)
    return calls.with_columns(told[name].gather(place).zip_with(mask, calls[name]).alias(name) for name in told.columns)


def _shared(evidence: Evidence, calls: pl.DataFrame, rows: Ints, members: Ints, label: Ints, ancestry: Ancestry) -> pl.DataFrame:
    """For calls that several records describe, the columns in which they say more together than the one that stands."""
    order = (
        evidence.take(members, ["rank", "detail", "entry_id"])
        .with_columns(pl.Series("label", label[members]), pl.Series("deep", ancestry.depth(members)))
        .with_row_index("at")
        .sort("label", "rank", "deep", "detail", "entry_id", descending=[False, False, True, True, False], nulls_last=True)["at"]
    )
    members = members[order.to_numpy()]
    known = evidence.take(members, [*MERGED, "tags"])
    labels = label[members]
    begins = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    group = np.searchsorted(labels[begins], label[rows])
    which = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(labels))))
    told = {}
    for name in MERGED:
        if known[name].null_count() == known.height or not calls[name].null_count():
            continue
        # The first of each group that knows it.
        knowing = np.flatnonzero(known[name].is_not_null().to_numpy())
        first = np.full(len(begins), -1, dtype=np.int64)
        first[which[knowing][::-1]] = knowing[::-1]
        source = np.where(calls[name].is_null().to_numpy(), first[group], -1)
        if (source >= 0).any():
            value = known[name].gather(pl.Series(np.maximum(source, 0)))
            told[name] = value.zip_with(pl.Series(source >= 0), calls[name]).alias(name)
    if known["tags"].list.len().fill_null(0).sum():
        told["tags"] = _tags_of(calls["tags"], known["tags"], which, group)
    names = [*_DETAILS, "input_tokens", "output_tokens"]
    consistent = _consistent(pl.DataFrame([told.get(name, calls[name]) for name in names]))
    return pl.DataFrame(list((told | {name: consistent[name] for name in _DETAILS}).values()))


def _tags_of(own: pl.Series, others: pl.Series, which: Ints, group: Ints) -> pl.Series:
    """Own tags, and those of the others under keys that are not taken; `which` group each of the others is in, and each own."""
    calls = pl.DataFrame({"group": group, "tag": own}).with_row_index("at")
    more = pl.DataFrame({"group": which, "tag": others}).filter(pl.col("tag").list.len() > 0)
    pairs = (
        pl.concat(
            [
                calls.select("at", "tag").explode("tag").drop_nulls("tag"),
                more.join(calls.select("group", "at"), on="group").select("at", "tag").explode("tag").drop_nulls("tag"),
            ]
        )
        .unnest("tag")
        .unique(["at", "key"], keep="first", maintain_order=True)
        .group_by("at")
        .agg(pl.struct("key", "value").sort_by("key").alias("tags"))
    )
    joined = calls.join(pairs, on="at", how="left", maintain_order="left")
    return joined.select(pl.coalesce("tags", "tag").alias("tags"))["tags"]


#: Details that must fit into the whole they are a part of.
_DETAILS = ("cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "reasoning_tokens")


def _consistent(calls: pl.DataFrame) -> pl.DataFrame:
    """Details that were borrowed must fit into the whole they are a part of; lifetimes must add up to the cache writes."""
    read, write = pl.col("cache_read_tokens").fill_null(0), pl.col("cache_write_tokens").fill_null(0)
    fits = (read + write <= pl.col("input_tokens")).fill_null(True)
    five, one = pl.col("cache_write_5m_tokens"), pl.col("cache_write_1h_tokens")
    adds = (five.fill_null(0) + one.fill_null(0) == write) | (five.is_null() & one.is_null())
    return calls.with_columns(
        pl.when(fits).then("cache_read_tokens").alias("cache_read_tokens"),
        pl.when(fits).then("cache_write_tokens").alias("cache_write_tokens"),
        pl.when(fits & adds).then("cache_write_5m_tokens").alias("cache_write_5m_tokens"),
        pl.when(fits & adds).then("cache_write_1h_tokens").alias("cache_write_1h_tokens"),
        pl.when((pl.col("reasoning_tokens") <= pl.col("output_tokens")).fill_null(True))
        .then("reasoning_tokens")
        .alias("reasoning_tokens"),
    )


def _inherited(
    evidence: Evidence, calls: pl.DataFrame, rows: Ints, members: Ints, label: Ints, ancestry: Ancestry
) -> tuple[pl.DataFrame, Flags]:
    """Whom calls are for and their model from the nearest ancestor of the call's own record, then of the others' records;
    and which calls learned something."""
    learned = np.zeros(len(rows), dtype=bool)
    if not (ancestry.parent >= 0).any():
        return calls, learned
    named = evidence.take(members, ["entry_id"])
    lenders = named.with_columns(pl.Series("label", label[members]), pl.Series("row", members)).sort("label", "entry_id")
    columns = []
    known = evidence.take(np.arange(evidence.height), [*WHO, "model"])
    for name in known.columns:
        missing = calls[name].is_null().to_numpy()
        if not missing.any():
            continue
        values = known[name]
        has = values.is_not_null().to_numpy()
        if not has.any():
            continue
        source = np.full(len(rows), -1, dtype=np.int64)
        source[missing] = ancestry.inherited(rows[missing], has)
        if name != "model" and len(members) and (missing & (source < 0)).any():
            lent = np.full(evidence.height, -1, dtype=np.int64)
            found = ancestry.inherited(lenders["row"].to_numpy(), has)
            # The first lender is written last.
            places, found = lenders["label"].to_numpy()[::-1], found[::-1]
            lent[places[found >= 0]] = found[found >= 0]
            source = np.where(missing & (source < 0), lent[label[rows]], source)
        given = source >= 0
        if given.any():
            learned |= given
            columns.append(values.gather(pl.Series(np.maximum(source, 0))).zip_with(pl.Series(given), calls[name]).alias(name))
    return calls.with_columns(columns), learned


def _taken_back(evidence: Evidence) -> npt.NDArray[np.uint64]:
    """Keys of responses that their provider says it does not bill after all."""
    narrow = evidence.narrow
    keys: npt.NDArray[np.uint64] = narrow["response"][(narrow["role"] == CORRECTION) & (narrow["response"] != 0)]
    return keys


def _corrected(calls: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Calls that their provider says it does not bill after all: still calls, without tokens."""
    rows = np.flatnonzero(evidence.narrow["role"] == CORRECTION)
    if not len(rows):
        return calls
    corrections = evidence.take(rows, ["response_id", "error_type"]).drop_nulls("response_id").rename({"error_type": "why"})
    calls = calls.join(corrections.unique("response_id"), on="response_id", how="left", maintain_order="left")
    hit = pl.col("why").is_not_null()
    counts = [name for name in MERGED if name.endswith("_tokens")]
    return calls.with_columns(
        *(
            pl.when(hit & pl.col(name).is_not_null()).then(0).otherwise(name).alias(name)
            for name in ("input_tokens", "output_tokens", *counts)
        ),
        pl.when(hit).then(pl.lit("error")).otherwise("outcome").alias("outcome"),
        pl.when(hit).then("why").otherwise("error_type").alias("error_type"),
        pl.when(hit).then(None).otherwise("reported_cost_usd").alias("reported_cost_usd"),
    ).drop("why")
