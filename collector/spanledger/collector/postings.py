"""The entries that bring the ledger from what was posted to what the evidence now means: additive, never an edit."""

from datetime import datetime

import numpy as np
import polars as pl

from spanledger.collector import identity
from spanledger.collector.grouping import RULE, RULES
from spanledger.collector.resolve import CONTENT, Verdicts
from spanledger.ledger.frame import COLUMNS
from spanledger.ledger.schema import MEASURES

#: What was posted for a record: as a call that still stands (`COLUMNS`), under its own id `base_id`.
POSTED = {**COLUMNS, "base_id": COLUMNS["entry_id"]}
#: How often a record was posted under any id; the first time it has its own.
HISTORY = {"base_id": pl.String, "version": pl.Int64}

_ROLES_TOLD = ("leaf", "repeat", "never", "agent", "span")


def postings(
    evidence: pl.DataFrame, verdicts: Verdicts, posted: pl.DataFrame, history: pl.DataFrame, now: datetime
) -> pl.DataFrame:
    """Entries without money (reversals with it), with `base_id`; `posted` and `history` need only hold the rows of this evidence."""
    places = pl.DataFrame(
        {"base_id": evidence["entry_id"], "row": np.arange(evidence.height), "label": verdicts.label}
    ).with_columns(pl.Series("rule_code", verdicts.rule), pl.Series("stands", verdicts.stands))
    standing = posted.join(places.select("base_id", "label", "rule_code"), on="base_id", how="inner")
    wanted = verdicts.calls.with_columns(pl.Series("label", verdicts.label[verdicts.calls["row"].to_numpy()]))
    kept = _unchanged(standing, wanted)
    fresh = wanted.join(kept.select("label"), on="label", how="anti")
    fresh = _versioned(fresh.rename({"entry_id": "base_id"}), history)
    undone = standing.join(kept.select("entry_id"), on="entry_id", how="anti")
    stand_for = pl.concat([kept.select("label", "entry_id"), fresh.select("label", "entry_id")]).unique(
        "label", keep="first", maintain_order=True
    )
    calls = fresh.with_columns(pl.lit("call").alias("kind"))
    reversals = _reversals(undone, stand_for)
    told = places.filter(~pl.col("stands") & ~pl.col("rule_code").is_in([RULE["waits"], RULE["metric"]]))
    told = told.join(history.select("base_id"), on="base_id", how="anti").join(posted.select("base_id"), on="base_id", how="anti")
    duplicates = _duplicates(evidence, told, stand_for)
    frames = [frame for frame in (reversals, calls, duplicates) if frame.height]
    if not frames:
        return pl.DataFrame(schema=POSTED)
    return pl.concat([_shaped(frame, now) for frame in frames])


def _unchanged(standing: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Posted calls that say what is to be said; one for each call."""
    if not standing.height or not wanted.height:
        return standing.clear()
    pairs = standing.join(
        wanted.select("label", *(pl.col(name).alias(f"{name}_now") for name in CONTENT)), on="label", how="inner"
    )
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_now")) for name in CONTENT)
    return pairs.filter(same).sort("entry_id").unique("label", keep="first", maintain_order=True).select(standing.columns)


def _versioned(fresh: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Entry ids: the record's own the first time it is posted, then one derived from it."""
    version = fresh.select("base_id").join(history, on="base_id", how="left", maintain_order="left")["version"].fill_null(0)
    again = identity.derived(fresh["base_id"], "call", version)
    return fresh.with_columns(pl.when(version > 0).then(again).otherwise("base_id").alias("entry_id"))


def _reversals(undone: pl.DataFrame, stand_for: pl.DataFrame) -> pl.DataFrame:
    """The negative of what was posted, money included."""
    if not undone.height:
        return undone
    undone = undone.join(stand_for.rename({"entry_id": "now_stands"}), on="label", how="left", maintain_order="left")
    rule = pl.Series("rule", list(RULES), dtype=pl.String)[undone["rule_code"]]
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


def _duplicates(evidence: pl.DataFrame, told: pl.DataFrame, stand_for: pl.DataFrame) -> pl.DataFrame:
    """What claimed to be a call and is none: no measures, its claims beside."""
    rows = evidence[told["row"]].with_columns(told["label"], told["rule_code"])
    said = pl.col("said").fill_null(False)
    rows = rows.filter(pl.col("role").is_in(list(_ROLES_TOLD)) & (said | (pl.col("role") == "leaf")))
    if not rows.height:
        return rows
    rows = rows.join(stand_for.rename({"entry_id": "now_stands"}), on="label", how="left", maintain_order="left")
    rule = pl.Series("rule", list(RULES), dtype=pl.String)[rows["rule_code"]]
    claims = rows.with_columns(
        pl.col("input_tokens").alias("claimed_input_tokens"),
        pl.col("output_tokens").alias("claimed_output_tokens"),
        pl.col("reported_cost_usd").alias("claimed_cost_usd"),
        pl.col("entry_id").alias("base_id"),
        pl.col("now_stands").alias("stands_for"),
        rule.alias("rule"),
        pl.lit("duplicate").alias("kind"),
    )
    return claims.with_columns(
        *(pl.lit(None, dtype=COLUMNS[name]).alias(name) for name in MEASURES if name != "calls"),
        pl.lit([], dtype=COLUMNS["other_meters"]).alias("other_meters"),
        pl.lit(0, dtype=pl.Int64).alias("calls"),
    )


def _shaped(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return frame.with_columns(pl.lit(now).cast(COLUMNS["recorded_at"]).alias("recorded_at")).select(
        (pl.col(name) if name in frame.columns or name == "recorded_at" else pl.lit(None)).cast(kind).alias(name)
        for name, kind in POSTED.items()
    )
