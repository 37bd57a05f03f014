"""Runs bodies through decode, recognise and count once, and compares what comes out with what was really charged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.names import bare_model
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.frame import COLUMNS
from spanledger.prices import Prices
from tests.dialects.bodies import INDEX, NOW, signal_of

COUNTS = (
    "calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "reasoning_tokens", "reported_cost_usd", "cost_usd",
)  # fmt: skip
BY = ("provider", "model", "operation", "tenant", "user", "agent", "session", "outcome", "granularity")


@dataclass
class Posted:
    """What a ledger would give back: all entries that were posted."""

    frames: list[pl.DataFrame] = field(default_factory=list)

    def find(self, late: pl.DataFrame, *, since: datetime, horizon: int) -> pl.DataFrame:
        return pl.DataFrame(schema=COLUMNS)

    def named(self, records: pl.DataFrame, *, since: datetime, came: tuple[datetime, datetime] | None) -> pl.DataFrame:
        return pl.DataFrame(schema=COLUMNS)

    def ids(self, *, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        return iter(())

    def entries(self, entry_ids: pl.Series) -> pl.DataFrame:
        return pl.concat(self.frames).filter(pl.col("entry_id").is_in(entry_ids.implode()))


@cache
def prices() -> Prices:
    """The prices that are installed."""
    return Prices()


def entries_of(
    batches: Sequence[Sequence[Received]], *, folder: Path | None = None, counting: Counting | None = None
) -> pl.DataFrame:
    """All entries of these batches with their cost, and of what is due long after; with a folder, restarted each time."""
    return counted([recognise(decode(batch)) for batch in batches], folder=folder, counting=counting)


def counted(evidence: Sequence[pl.DataFrame], *, folder: Path | None = None, counting: Counting | None = None) -> pl.DataFrame:
    """The same for batches that were recognised already."""
    ledger = Posted()
    counter = CountOnce(counting, folder=folder, older=ledger)
    for mark, batch in enumerate(evidence, start=1):
        if folder is not None:
            counter = CountOnce(counting, folder=folder, mark=mark - 1, older=ledger)
        entries = counter.count(batch, now=NOW + timedelta(seconds=mark), mark=mark)
        entries = prices().price(entries) if entries.height else entries
        ledger.frames.append(entries)
        counter.posted(mark, entries)
    ledger.frames.append(prices().price(counter.due(now=NOW + timedelta(hours=12))))
    return pl.concat(ledger.frames)


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
    wrong, pairs = [], []
    for call, lost in expected:
        if "ALL usage" in " ".join(lost) or (call["status"] == "error" and "the failed call" in " ".join(lost)):
            continue
        fitting = [c for c in calls if fits(c, call, lost)]
        if fitting:
            best = max(fitting, key=lambda c: sum(c[f] or 0 for f in _FIELDS))
            calls.remove(best)
            pairs.append((best, call))
        else:
            wrong.append(f"missing: {call}")
    wrong += [f"not charged: {c['dialect']} {c['model']} {[c[f] for f in _FIELDS]}" for c in calls]
    return wrong + _wrong_costs(pairs)


def _wrong_costs(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Calls that cost something else than what they were charged for, where their emitter says all that its price is made of."""
    pairs = [(found, call) for found, call in pairs if found["model"] and all((found[f] or 0) == call[f] for f in _PRICED)]
    if not pairs:
        return []
    # For how long a provider keeps what it cached is no part of the index: 60 of the 100 for five minutes, 40 for an hour.
    wrong = [
        f"lifetimes of {found['dialect']}: {found['cache_write_5m_tokens']}, {found['cache_write_1h_tokens']}"
        for found, _ in pairs
        if (found["cache_write_5m_tokens"] or 0, found["cache_write_1h_tokens"] or 0) not in ((60, 40), (0, 0))
    ]
    due = [
        {
            **found, **{f: call[f] for f in _FIELDS}, "provider": _PAID.get(call["provider"], call["provider"]),
            "model": call["model"], "requested_model": None, "service_tier": None, "region": None, "flags": [], "tags": [],
        }
        for found, call in pairs
    ]  # fmt: skip
    have, want = (
        prices().price(pl.DataFrame(rows, schema=COLUMNS)).select("cost_usd", "cost_state").rows()
        for rows in ([found for found, _ in pairs], due)
    )
    return wrong + [
        f"costs {was} instead of {charged}: {found['dialect']} {found['provider']} {found['model']}"
        for (found, call), was, charged in zip(pairs, have, want, strict=True)
        if was != charged or (charged[1] == "unpriced" and call["provider"] != "cursor")
    ]


#: Providers of the index that the ledger has other names for.
_PAID = {"google": "gcp.gemini"}
#: What a price is made of: reasoning is a part of the output and costs what the output does.
_PRICED = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
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
