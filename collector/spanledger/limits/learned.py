"""How many tokens calls like this one have used lately, for holds smaller than the worst case.

Samples are kept per (model, operation, tenant, agent) and, for subjects with too few, per (model, operation), and for checks that
name no operation per (model,). They come
from the ledger at the start and from every batch of entries after that; old ones make room for new ones.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl

from spanledger.limits.check import Check

RECENT = (Path(__file__).parent / "sql" / "recent_sizes.sql").read_text()

SAMPLES = 200
ENOUGH = 20
REFRESH = 10

Like = tuple[str | None, ...]
Sample = tuple[int, int]


#: What a check that names no operation is taken for, where the model is used so.
USUAL = "chat"


class _Recent:
    """The last sizes of one kind of call, with quantiles that are computed anew every ten samples."""

    __slots__ = ("_fresh", "_quantiles", "samples")

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._quantiles: dict[Decimal, Sample] = {}
        self._fresh = 0

    def add(self, sample: Sample) -> None:
        self.samples.append(sample)
        self._fresh += 1
        if self._fresh >= REFRESH:
            self._fresh = 0
            self._quantiles.clear()

    def quantile(self, share: Decimal) -> Sample:
        found = self._quantiles.get(share)
        if found is None:
            # The sample at or above the share: between two samples the larger, a hold should not be too small.
            place = min(len(self.samples) - 1, int(share * len(self.samples)))
            inputs, outputs = (sorted(column) for column in zip(*self.samples, strict=True))
            found = self._quantiles[share] = (inputs[place], outputs[place])
        return found


class Learned:
    """Token quantiles of recent calls. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: dict[Like, _Recent] = {}

    def quantile(self, check: Check, share: Decimal) -> Sample | None:
        """(input, output) tokens that a share of calls like this one stayed within; None with too few to tell."""
        operation = check.operation or USUAL
        likes: tuple[Like, ...] = ((check.model, operation, check.tenant, check.agent), (check.model, operation))
        if not check.operation:
            likes = (*likes, (check.model,))
        with self._lock:
            for like in likes:
                recent = self._recent.get(like)
                if recent is not None and len(recent.samples) >= ENOUGH:
                    return recent.quantile(share)
        return None

    def observe(self, entries: pl.DataFrame) -> None:
        """Learn from a batch."""
        needed = {"kind", "model", "requested_model", "operation", "tenant", "agent", "input_tokens", "output_tokens"}
        if not needed <= set(entries.columns):
            return
        calls = entries.filter((pl.col("kind") == "call") & pl.col("output_tokens").is_not_null())
        asked = pl.coalesce("requested_model", "model")
        columns = (asked, "operation", "tenant", "agent", pl.col("input_tokens").fill_null(0), "output_tokens")
        self._learn(calls.tail(SAMPLES * 10).select(*columns).iter_rows())

    def rebuild(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Learn from the ledger's recent calls, oldest first."""
        found = connection.execute(RECENT, {"samples": SAMPLES})
        self._learn(_rows(found))

    def _learn(self, rows: Iterable[tuple[str | None, str | None, str | None, str | None, int, int]]) -> None:
        with self._lock:
            for model, operation, tenant, agent, input_tokens, output_tokens in rows:
                for like in ((model, operation, tenant, agent), (model, operation), (model,)):
                    recent = self._recent.get(like)
                    if recent is None:
                        recent = self._recent[like] = _Recent()
                    recent.add((input_tokens, output_tokens))


def _rows(found: duckdb.DuckDBPyConnection) -> Iterator[tuple[str | None, str | None, str | None, str | None, int, int]]:
    while batch := found.fetchmany(10_000):
        yield from batch
