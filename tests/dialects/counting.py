"""Runs bodies through decode, recognise and count once, and compares what comes out with what was really charged."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from spanledger.collector.count_once import Counting, CountOnce
from spanledger.collector.decode import decode
from spanledger.collector.names import bare_model
from spanledger.collector.received import Received
from spanledger.collector.recognise import recognise
from tests.dialects.bodies import INDEX, NOW, signal_of

COUNTS = (
    "calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "reasoning_tokens", "reported_cost_usd",
)  # fmt: skip
BY = ("provider", "model", "operation", "tenant", "user", "agent", "session", "outcome", "granularity")


def entries_of(
    batches: Sequence[Sequence[Received]], *, folder: Path | None = None, counting: Counting | None = None
) -> pl.DataFrame:
    """All entries of these batches, one after the other, and of what is due long after; with a folder, restarted each time."""
    counter = CountOnce(counting, folder=folder)
    found = []
    for mark, batch in enumerate(batches, start=1):
        if folder is not None:
            counter = CountOnce(counting, folder=folder, mark=mark - 1)
        entries = counter.count(recognise(decode(batch)), now=NOW + timedelta(seconds=mark), mark=mark)
        counter.posted(mark, entries)
        found.append(entries)
    found.append(counter.due(now=NOW + timedelta(hours=12)))
    return pl.concat(found)


def sums(entries: pl.DataFrame) -> pl.DataFrame:
    """Every measure by every dimension: what must not depend on order."""
    summed = entries.group_by(BY).agg(pl.col(name).sum() for name in COUNTS)
    return summed.filter(pl.any_horizontal(pl.col(name) != 0 for name in COUNTS)).sort(BY)


def standing(entries: pl.DataFrame) -> list[dict[str, Any]]:
    """The calls that were not taken back."""
    undone = entries.filter(pl.col("kind") == "reversal").select(pl.col("stands_for").alias("entry_id"))
    return entries.filter(pl.col("kind") == "call").join(undone, on="entry_id", how="anti").to_dicts()


def charged(files: Sequence[str]) -> list[tuple[dict[str, Any], list[str]]]:
    """The calls that the emitters of these files were charged for, once for each stem, with what no file of the stem can tell."""
    stems: dict[str, list[dict[str, Any]]] = {}
    for sample in INDEX:
        if sample["file"] in files:
            stems.setdefault(sample["file"].split(".")[0], []).append(sample)
    found = []
    for samples in stems.values():
        # Traces and logs tell more than metrics, and together more than each alone.
        spoken = [s for s in samples if signal_of(s["file"]) != "metrics"] or samples
        best = max(
            spoken, key=lambda s: (signal_of(s["file"]) == "logs" and not s["lost_fields"], signal_of(s["file"]) == "traces")
        )
        found += [(call, best["lost_fields"]) for call in best["billable_calls"]]
    return found


def differences(entries: pl.DataFrame, expected: Sequence[tuple[dict[str, Any], list[str]]]) -> list[str]:
    """What of the expected calls is missing, and what stands that nobody was charged for."""
    calls = standing(entries)
    wrong = []
    for call, lost in expected:
        if "ALL usage" in " ".join(lost) or (call["status"] == "error" and "the failed call" in " ".join(lost)):
            continue
        fitting = [c for c in calls if fits(c, call, lost)]
        if fitting:
            calls.remove(max(fitting, key=lambda c: sum(c[f] or 0 for f in _FIELDS)))
        else:
            wrong.append(f"missing: {call}")
    return wrong + [f"not charged: {c['dialect']} {c['model']} {[c[f] for f in _FIELDS]}" for c in calls]


_FIELDS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def fits(found: dict[str, Any], call: dict[str, Any], lost: Sequence[str]) -> bool:
    """Whether an entry is that call, except for what its emitter does not send."""
    # Google's log events name no model.
    named = found["model"] is None or bare_model(found["model"]) == bare_model(call["model"])
    if found["outcome"] != call["status"] or not named:
        return False
    text = " ".join(lost)
    for name in _FIELDS:
        have, want = found[name] or 0, call[name]
        close = name == "output_tokens" and "exact output" in text and abs(have - want) <= 1
        less = have < want and (
            name.removesuffix("_tokens") in text
            or ("cache" in text and name == "input_tokens" and "input" in text)
            or ("cache tokens" in text and name.startswith("cache"))
            or ("output stays" in text and name == "output_tokens")
            or ("details of the manual" in text and name.startswith("cache"))
        )
        if have != want and not close and not less:
            return False
    return True
