"""What a set of evidence means: which records stand as calls, and what the others repeat, by which rule.

A pure function of the set. Nothing here depends on the order in which the records came, so a ledger brought into line
with it is right after any order, delay or re-delivery.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.ancestry import Ancestry
from spanledger.collector.attempts import with_attempts
from spanledger.collector.dialects.fields import WHO
from spanledger.collector.grouping import RULE, Groups, by_fingerprint, by_ids, by_nesting, by_span
from spanledger.collector.sums import aggregates, metrics, of_one_moment, told_apart

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Flags that make one reading of a call worth less than another.
_DOUBTS = ("cache_unknown", "reasoning_lost", "detail_lost", "semantics_assumed", "usage_unknown", "tokens_invalid")

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

#: If one of these changes after a call was posted, it is reversed and posted anew; the rest is not worth two entries.
CONTENT = (
    "provider", "model", "operation", "service_tier", "region", *WHO, "outcome", "hold_id", "reported_cost_usd",
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "output_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "granularity", "calls",
)  # fmt: skip


@dataclass(slots=True)
class Verdicts:
    """For each row of the evidence: its call (`label`), whether it `stands` for it, the `rule` by which it does not, and which
    row stands for it (`by`, -1 for none). `calls` are the standing rows with all that is known of their call; `evidence` is
    what was given, with running totals told apart."""

    label: Ints
    stands: Flags
    rule: Ints
    by: Ints
    calls: pl.DataFrame
    evidence: pl.DataFrame


def resolve(evidence: pl.DataFrame, *, settled: Flags, fingerprint: bool = True) -> Verdicts:
    """`settled` says of each row whether it has waited long enough to be taken as all there is about its call."""
    rows = evidence.height
    evidence = told_apart(evidence)
    role = evidence["role"].fill_null("span").to_numpy()
    leaves = role == "leaf"
    barrier = (role == "agent") | (role == "tool")
    said = evidence["said"].fill_null(False).to_numpy()
    ancestry = Ancestry.of(evidence["span_key"].to_numpy(), evidence["parent_key"].to_numpy())
    groups = Groups.of(rows)
    by_ids(evidence, leaves, groups)
    by_span(evidence, leaves, ancestry, groups)
    nesting = by_nesting(evidence, leaves, barrier, ancestry, groups)
    if fingerprint:
        by_fingerprint(evidence, leaves & ~nesting.gone, groups)
    label = groups.label
    # A call of which any record was taken apart into inner calls is not a call of its own.
    apart = np.zeros(rows, dtype=bool)
    apart[label[nesting.gone]] = True
    gone_by = np.full(rows, -1, dtype=np.int64)
    gone_by[label[nesting.gone]] = nesting.by[nesting.gone]
    candidates = leaves & ~apart[label]

    best = _representatives(evidence, candidates, label, ancestry)
    stands = np.zeros(rows, dtype=bool)
    stands[best[best >= 0]] = True
    by = np.where(leaves, np.where(apart[label], gone_by[label], best[label]), -1)
    rule = np.where(leaves, groups.rule, 0)
    rule[leaves & apart[label]] = RULE["leaf_in_leaf"]

    _repeats(evidence, role, label, best, by, rule)
    summed = said & ((role == "agent") | (role == "span")) & (evidence["signal"] != "metrics").fill_null(False).to_numpy()
    aggregates(evidence, summed, leaves, settled, ancestry, stands, by, rule)
    metrics(evidence, role, leaves, settled, stands, by, rule)
    label = np.where(by >= 0, label[np.maximum(by, 0)], label)
    began = np.zeros(rows, dtype=np.int64)
    np.maximum.at(began, groups.label[leaves], evidence["started"].fill_null(0).to_numpy()[leaves])
    calls = _merged(evidence, leaves, stands, groups.label, ancestry)
    return Verdicts(label, stands, rule, by, with_attempts(calls, nesting.outer, began[groups.label]), evidence)


def _representatives(evidence: pl.DataFrame, candidates: Flags, label: Ints, ancestry: Ancestry) -> Ints:
    """For each label, the row that stands for it; -1 where none can."""
    best = np.full(evidence.height, -1, dtype=np.int64)
    rows = np.flatnonzero(candidates)
    if not len(rows):
        return best
    counts = np.bincount(label[rows], minlength=evidence.height)
    alone = rows[counts[label[rows]] == 1]
    best[label[alone]] = alone
    rows = rows[counts[label[rows]] > 1]
    if not len(rows):
        return best
    ranked = (
        evidence[rows]
        .select(
            pl.Series("row", rows),
            pl.Series("label", label[rows]),
            pl.col("said").fill_null(False),
            (pl.col("outcome") == "error").alias("failed"),
            pl.col("rank").fill_null(9),
            pl.col("flags").list.eval(pl.element().is_in(list(_DOUBTS))).list.sum().fill_null(0).alias("doubts"),
            pl.col("detail").fill_null(0),
            pl.Series("depth", ancestry.depth(rows)),
            "started", "entry_id",
        )
        .sort(
            ["label", "said", "rank", "doubts", "detail", "depth", "started", "entry_id"],
            descending=[False, True, False, False, True, True, False, False],
        )
        .unique("label", keep="first", maintain_order=True)
    )  # fmt: skip
    best[ranked["label"].to_numpy()] = ranked["row"].to_numpy()
    return best


def _repeats(evidence: pl.DataFrame, role: npt.NDArray[np.object_], label: Ints, best: Ints, by: Ints, rule: Ints) -> None:
    """Records that say again what a call's own record says, or that tell of an answer nobody paid for."""
    others = np.flatnonzero((role == "repeat") | (role == "never"))
    if not len(others):
        return
    frame = evidence.select(
        pl.int_range(pl.len()).alias("row"),
        "trace_id",
        "parent_span_id",
        "response_id",
        "request_id",
        "input_tokens",
        "output_tokens",
        "started",
        pl.Series("leaf", role == "leaf"),
    )
    leaves = frame.filter("leaf").drop("leaf")
    repeats = frame[others].drop("leaf")
    found = pl.concat(
        [
            repeats.drop_nulls(on).join(leaves, on=on, suffix="_of").select("row", "row_of", pl.lit(trust).alias("trust"), apart)
            for trust, (on, apart) in enumerate(
                (
                    (["response_id"], pl.lit(0, dtype=pl.Int64).alias("apart")),
                    (["request_id"], pl.lit(0, dtype=pl.Int64).alias("apart")),
                    (
                        ["trace_id", "parent_span_id", "input_tokens", "output_tokens"],
                        (pl.col("started") - pl.col("started_of")).abs().alias("apart"),
                    ),
                    (
                        ["trace_id", "input_tokens", "output_tokens"],
                        (pl.col("started") - pl.col("started_of")).abs().alias("apart"),
                    ),
                )
            )
        ]
    )
    nearest = found.sort("trust", "apart", "row_of").unique("row", keep="first", maintain_order=True)
    by[nearest["row"].to_numpy()] = best[label[nearest["row_of"].to_numpy()]]
    rule[others] = np.where(role[others] == "never", RULE["never_billed"], RULE["repeat"])


def _merged(evidence: pl.DataFrame, leaves: Flags, stands: Flags, label: Ints, ancestry: Ancestry) -> pl.DataFrame:
    """The standing rows, with what their duplicates and ancestors know besides."""
    rows = np.flatnonzero(stands)
    calls = evidence[rows].with_columns(pl.Series("row", rows))
    members = np.flatnonzero(leaves & np.isin(label, label[rows[leaves[rows]]]))
    counts = np.bincount(label[members], minlength=evidence.height)
    shared = members[counts[label[members]] > 1]
    if len(shared):
        known = (
            evidence[shared]
            .with_columns(pl.Series("label", label[shared]), pl.Series("deep", ancestry.depth(shared)))
            .sort("label", "rank", "deep", "detail", "entry_id", descending=[False, False, True, True, False], nulls_last=True)
            .group_by("label", maintain_order=True)
            .agg(*(pl.col(name).drop_nulls().first() for name in MERGED), pl.col("tags").explode().drop_nulls().alias("tags"))
        )
        joined = pl.DataFrame({"label": label[rows]}).join(known, on="label", how="left", maintain_order="left")
        calls = calls.with_columns(
            *(pl.coalesce(pl.col(name), joined[name].cast(calls[name].dtype)).alias(name) for name in MERGED),
            _tags_of(calls["tags"], joined["tags"]),
        )
        calls = _consistent(calls)
    # From the nearest ancestor of the call's own record, then of the others', then from the resource.
    lenders = pl.DataFrame({"label": label[shared], "row": shared, "entry_id": evidence["entry_id"].gather(pl.Series(shared))})
    lenders = lenders.sort("label", "entry_id")
    learned = []
    for who in WHO:
        missing = calls[who].is_null().to_numpy()
        has = evidence[who].is_not_null().to_numpy()
        if not missing.any() or not has.any():
            continue
        source = np.full(len(rows), -1, dtype=np.int64)
        source[missing] = ancestry.inherited(rows[missing], has)
        if len(shared) and (missing & (source < 0)).any():
            lent = np.full(evidence.height, -1, dtype=np.int64)
            found = ancestry.inherited(lenders["row"].to_numpy(), has)
            # The first lender is written last.
            places, found = lenders["label"].to_numpy()[::-1], found[::-1]
            lent[places[found >= 0]] = found[found >= 0]
            source = np.where(missing & (source < 0), lent[label[rows]], source)
        if (source >= 0).any():
            value = evidence[who].gather(pl.Series(np.maximum(source, 0)))
            learned.append(value.zip_with(pl.Series(source >= 0), calls[who]).alias(who))
    calls = calls.with_columns(learned).with_columns(pl.coalesce(who, f"resource_{who}").alias(who) for who in WHO)
    nameless = calls["model"].is_null().to_numpy()
    if nameless.any():
        source = ancestry.inherited(rows, evidence["model"].is_not_null().to_numpy())
        named = evidence["model"].gather(pl.Series(np.maximum(source, 0)))
        calls = calls.with_columns(
            pl.when(pl.col("model").is_null() & pl.Series(source >= 0)).then(named).otherwise("model").alias("model")
        )
    calls = of_one_moment(_corrected(calls, evidence), evidence)
    aggregate = (pl.col("role") == "agent") | (pl.col("role") == "span")
    return calls.with_columns(
        pl.when(aggregate)
        .then(pl.lit("aggregate"))
        .when(pl.col("role") == "metric")
        .then(pl.lit("metric"))
        .when(pl.col("calls") > 1)
        .then(pl.lit("aggregate"))
        .otherwise("granularity")
        .alias("granularity"),
        # A metric's point and the span of a batch may stand for many calls.
        pl.col("calls").fill_null(1).alias("calls"),
    )


def _tags_of(own: pl.Series, others: pl.Series) -> pl.Series:
    """Own tags, and those of the others under keys that are not taken."""
    frame = pl.DataFrame({"own": own, "others": others}).with_row_index("at")
    if not frame["others"].list.len().fill_null(0).sum():
        return own
    pairs = (
        pl.concat([frame.select("at", pl.col(side).alias("tag")).explode("tag").drop_nulls("tag") for side in ("own", "others")])
        .unnest("tag")
        .unique(["at", "key"], keep="first", maintain_order=True)
        .group_by("at")
        .agg(pl.struct("key", "value").sort_by("key").alias("tags"))
    )
    joined = frame.join(pairs, on="at", how="left", maintain_order="left")
    return joined.select(pl.coalesce("tags", "own").alias("tags"))["tags"]


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


def _corrected(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Calls that their provider says it does not bill after all: still calls, without tokens."""
    corrections = (
        evidence.filter(pl.col("role") == "correction")
        .drop_nulls("response_id")
        .select("response_id", pl.col("error_type").alias("why"))
    )
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
