"""How many tokens calls like this one have used lately, for holds smaller than the worst case.

Samples are kept per (model, operation, tenant, agent) and, for subjects with too few, per (model, operation), and for checks that
name no operation per (model,). They come
from the ledger at the start and from every batch of entries after that; old ones make room for new ones, and so do those whom
nobody has called for longest: names may come from anywhere, and there may be no end of them.
"""

import threading
from array import array
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
#: Kinds of calls that are remembered. One takes up to 3.7 kB.
MOST_KINDS = 20_000

Like = tuple[str | None, ...]
Sample = tuple[int, int]


#: What a check that names no operation is taken for, where the model is used so.
USUAL = "chat"


class _Recent:
    """The last sizes of one kind of call, with quantiles that are computed anew every ten samples."""

    __slots__ = ("_fresh", "_inputs", "_outputs", "_quantiles")

    def __init__(self) -> None:
        self._inputs, self._outputs = array("q"), array("q")
        self._quantiles: dict[Decimal, Sample] = {}
        self._fresh = 0

    @property
    def enough(self) -> bool:
        """Whether there are as many as it takes to tell."""
        return len(self._outputs) >= ENOUGH

    def add(self, input_tokens: int, output_tokens: int) -> None:
        if len(self._outputs) == SAMPLES:
            del self._inputs[0], self._outputs[0]
        self._inputs.append(input_tokens)
        self._outputs.append(output_tokens)
        self._fresh += 1
        if self._fresh >= REFRESH:
            self._fresh = 0
            self._quantiles.clear()

    def quantile(self, share: Decimal) -> Sample:
        found = self._quantiles.get(share)
        if found is None:
            # The sample at or above the share: between two samples the larger, a hold should not be too small.
            place = min(len(self._outputs) - 1, int(share * len(self._outputs)))
            found = self._quantiles[share] = (sorted(self._inputs)[place], sorted(self._outputs)[place])
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
                if recent is not None and recent.enough:
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
                    # The first in the dictionary is the one that was called least lately.
                    recent = self._recent.pop(like) if like in self._recent else _Recent()
                    self._recent[like] = recent
                    recent.add(input_tokens, output_tokens)
                while len(self._recent) > MOST_KINDS:
                    del self._recent[next(iter(self._recent))]


def _rows(found: duckdb.DuckDBPyConnection) -> Iterator[tuple[str | None, str | None, str | None, str | None, int, int]]:
    while batch := found.fetchmany(10_000):
        yield from batch
