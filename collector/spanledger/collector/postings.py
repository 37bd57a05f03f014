"""The entries that bring the ledger from what was posted to what the evidence now means: additive, never an edit."""

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector import identity
from spanledger.collector.grouping import RULE, RULES
from spanledger.collector.resolve import CONTENT, Verdicts
from spanledger.ledger.frame import COLUMNS
from spanledger.ledger.schema import MEASURES

Rows = npt.NDArray[np.int64]

#: An entry without money, with `at`: the row of the evidence it is posted for.
POSTING: dict[str, Any] = {**COLUMNS, "at": pl.Int64}

_ROLES_TOLD = ("leaf", "repeat", "never", "agent", "span", "metric")
_RULE_NAMES = pl.Series("rule", list(RULES), dtype=pl.String)


def postings(verdicts: Verdicts, posted: pl.DataFrame, version: Rows, now: datetime) -> pl.DataFrame:
    """Entries by `POSTING`; reversals with the money of what they take back.

    What metrics say beside spans or logs is a duplicate whose claims can be laid beside them.
    `posted` are the calls that stand in the ledger for rows of this evidence, which its column `at` names; `version[i]`
    says how often row i was posted.
    """
    evidence = verdicts.evidence
    label, rule = pl.Series("label", verdicts.label), pl.Series("rule_code", verdicts.rule)
    standing = posted.with_columns(label[posted["at"]], rule[posted["at"]])
    wanted = verdicts.calls.rename({"row": "at"}).with_columns(label[verdicts.calls["row"]])
    kept = _unchanged(standing, wanted)
    fresh = wanted if not kept.height else wanted.join(kept.select("label"), on="label", how="anti")
    fresh = _versioned(fresh, version)
    undone = standing if not kept.height else standing.join(kept.select("entry_id"), on="entry_id", how="anti")
    heard = evidence.select(label, "role", "entry_id").filter(pl.col("role") == "heard").select("label", "entry_id")
    stand_for = pl.concat([each.select("label", "entry_id") for each in (kept, fresh, heard)]).unique("label", keep="first")
    # Of the metrics that say the same of one moment, one is told.
    metered = (evidence["role"] == "metric").fill_null(False).to_numpy()
    again = metered & (verdicts.by >= 0) & metered[np.maximum(verdicts.by, 0)]
    quiet = (verdicts.rule == RULE["waits"]) | again
    unposted = np.flatnonzero(~verdicts.stands & ~quiet & (version == 0))
    frames = [
        _reversals(undone, stand_for),
        fresh.with_columns(pl.lit("call").alias("kind")),
        _duplicates(evidence, unposted, label, rule, stand_for),
    ]
    shaped = [_shaped(frame, now) for frame in frames if frame.height]
    return pl.concat(shaped) if shaped else pl.DataFrame(schema=POSTING)


def _unchanged(standing: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Posted calls that say what is to be said; one for each call."""
    if not standing.height or not wanted.height:
        return standing.clear()
    pairs = standing.join(
        wanted.select("label", *(pl.col(name).alias(f"{name}_now") for name in CONTENT)), on="label", how="inner"
    )
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_now")) for name in CONTENT)
    return pairs.filter(same).sort("entry_id").unique("label", keep="first", maintain_order=True).select(standing.columns)


def _versioned(fresh: pl.DataFrame, version: Rows) -> pl.DataFrame:
    """Entry ids: the record's own the first time it is posted, then one derived from it."""
    times = version[fresh["at"].to_numpy()]
    if not times.any():
        return fresh
    again = identity.derived(fresh["entry_id"], "call", pl.Series(times))
    return fresh.with_columns(pl.when(pl.Series(times) > 0).then(again).otherwise("entry_id").alias("entry_id"))


def _reversals(undone: pl.DataFrame, stand_for: pl.DataFrame) -> pl.DataFrame:
    """The negative of what was posted, money included."""
    if not undone.height:
        return undone
    undone = undone.join(stand_for.rename({"entry_id": "now_stands"}), on="label", how="left", maintain_order="left")
    rule = _RULE_NAMES[undone["rule_code"]]
    negated = [(-pl.col(name)).alias(name) for name in MEASURES]
    meters = pl.col("other_meters").list.eval(
        pl.struct(pl.element().struct.field("key"), (-pl.element().struct.field("value")).alias("value"))
    )
    anew = pl.col("now_stands").is_not_null()
    return undone.with_columns(
        *negated,
        meters.alias("other_meters"),
        pl.lit("reversal").alias("kind"),
        pl.col("entry_id").alias("stands_for"),
        identity.derived(undone["entry_id"], "reversal").alias("entry_id"),
        pl.when(rule == "").then(pl.lit("learned_more")).otherwise(rule).alias("rule"),
        pl.when(anew)
        .then(pl.concat_str([pl.lit("stands now as "), pl.col("now_stands")]))
        .otherwise(pl.lit("is no call of its own"))
        .alias("reason"),
    )


def _duplicates(evidence: pl.DataFrame, rows: Rows, label: pl.Series, rule: pl.Series, stand_for: pl.DataFrame) -> pl.DataFrame:
    """What claimed to be a call and is none: no measures, its claims beside."""
    role = evidence["role"]
    told = role.is_in(list(_ROLES_TOLD)) & (evidence["said"].fill_null(False) | (role == "leaf"))
    rows = rows[told.fill_null(False).to_numpy()[rows]]
    if not len(rows):
        return evidence.clear()
    at = pl.Series("at", rows)
    repeated = evidence[rows].with_columns(at, label[at], _RULE_NAMES[rule[at]].alias("rule"))
    repeated = repeated.join(stand_for.rename({"entry_id": "stands_for"}), on="label", how="left", maintain_order="left")
    claims = repeated.with_columns(
        pl.col("input_tokens").alias("claimed_input_tokens"),
        pl.col("output_tokens").alias("claimed_output_tokens"),
        pl.col("reported_cost_usd").alias("claimed_cost_usd"),
        pl.lit("duplicate").alias("kind"),
    )
    nothing = [pl.lit(None, dtype=COLUMNS[name]).alias(name) for name in MEASURES if name != "calls"]
    return claims.with_columns(
        *nothing, pl.lit([], dtype=COLUMNS["other_meters"]).alias("other_meters"), pl.lit(0, dtype=pl.Int64).alias("calls")
    )


def _shaped(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    frame = frame.with_columns(
        pl.lit(now).cast(COLUMNS["recorded_at"]).alias("recorded_at"), pl.col("occurred_at").dt.date().alias("day")
    )
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in POSTING.items()
    )
