"""What a call would cost: it is priced as the ledger prices calls, so that a quote is what a posted call gets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from spanledger.prices.meters import BY_COUNTER, COMPONENTS
from spanledger.prices.rule import Belongs

_COLUMN = {"tenant": "tenant", "project": "project", "key": "api_key_id"}
_PAIRS = {
    "tags": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
    "other_meters": pl.List(pl.Struct({"key": pl.String, "value": pl.Float64})),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a call costs, to the last digit, or why nobody can say; in the words of the ledger's columns."""

    cost_usd: Decimal | None
    list_cost_usd: Decimal | None
    cost_state: str
    unpriced_reason: str | None
    priced_as: str | None
    price_match: str | None
    flags: tuple[str, ...]
    #: By component: input, cache_read, cache_write, output, other. Empty when unpriced.
    components: Mapping[str, Decimal]
    #: The rules that had a part in the price.
    rules: tuple[str, ...]
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that may be made. `counters` are the ledger's by name, parts included in their wholes; `belongs` says whom it is
    for, as in `[("tenant", "acme"), ("tag", "team=search")]`. Raises `ValueError` for what is no counter."""

    at: datetime
    counters: Mapping[str, float]
    service_tier: str | None = None
    batch: bool | None = None
    region: str | None = None
    variant: str | None = None
    belongs: Sequence[Belongs] = field(default=())

    def __post_init__(self) -> None:
        unknown = self.counters.keys() - BY_COUNTER.keys()
        if unknown:
            raise ValueError(f"not a counter: {', '.join(sorted(unknown))}; counters are {', '.join(BY_COUNTER)}")

    def on(self, models: Iterable[tuple[str | None, str | None]]) -> pl.DataFrame:
        """The call as an entry without money, a row for each provider and model."""
        row = self._row()
        frame = pl.DataFrame(
            {name: [value] for name, value in row.items()}, schema_overrides={n: t for n, t in _PAIRS.items() if n in row}
        )
        named = pl.DataFrame(list(models), schema={"provider": pl.String, "model": pl.String}, orient="row")
        return named.join(frame, how="cross")

    def _row(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "kind": "call", "calls": 1, "outcome": "ok", "occurred_at": self.at, "service_tier": self.service_tier,
            "batch": self.batch, "region": self.region, "variant": self.variant,
        }  # fmt: skip
        others = []
        for counter, value in self.counters.items():
            meter = BY_COUNTER[counter]
            if not meter.column:
                others.append({"key": counter, "value": float(value)})
            else:
                row[counter] = float(value) if meter.seconds else round(value)
        if others:
            row["other_meters"] = others
        row |= {_COLUMN[kind]: value for kind, value in self.belongs if kind in _COLUMN}
        tags = [tag.partition("=") for kind, tag in self.belongs if kind == "tag"]
        if tags:
            row["tags"] = [{"key": key, "value": value} for key, _, value in tags]
        return row


def quoted(priced: pl.DataFrame, rules: Iterable[tuple[str, ...]]) -> list[Quote]:
    """Entries with their money as quotes; `rules` are those that had a part in each."""
    return [
        Quote(
            cost_usd=row["cost_usd"], list_cost_usd=row["list_cost_usd"], cost_state=row["cost_state"],
            unpriced_reason=row["unpriced_reason"], priced_as=row["priced_as"], price_match=row["price_match"],
            flags=tuple(row["flags"]), rules=by, revision=row["price_revision"],
            components={} if row["cost_usd"] is None else {name: row[f"{name}_cost_usd"] for name in COMPONENTS},
        )
        for row, by in zip(priced.iter_rows(named=True), rules, strict=True)
    ]  # fmt: skip
