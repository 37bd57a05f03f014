"""What each name of telemetry resolves to, kept as tables so that a batch is priced by a join.

Only what books and rules know takes a place in the tables, so they cannot outgrow them; the names that led there are
in a bounded cache, so that fifty thousand strange names cost time and no memory.
"""

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any

import polars as pl

from spanledger.prices.layers import Layers, Name, Priced
from spanledger.prices.tables import Tables, Wholes

MOST_NAMES = 50_000
MOST_KEYS = 20_000


class Keys:
    """The keys of one state of books and rules, growing as names are met. Safe to use from several threads.

    `asked` frames have a row for each call and the columns that a name is made of, as telemetry spells them; `named`
    makes a name of such a row.
    """

    def __init__(self, layers: Layers, named: Callable[[dict[str, Any]], Name], before: "Keys | None" = None) -> None:
        """`before` are the keys that these take the place of: what they have compiled is used again."""
        self.layers = layers
        self._named = named
        self._keys: list[Priced] = []
        self._known: dict[object, int] = {}
        self._met: pl.DataFrame | None = None
        #: The newest tables, and whether there are keys that they lack.
        self._tables: Tables | None = before._tables if before else None
        self._stale = True
        self._lock = Lock()
        self._contracts = {rule.rule_id for rule in layers.rules if rule.layer == "contract"}

    def met(self) -> pl.DataFrame | None:
        """The rows that have been met and are remembered."""
        with self._lock:
            return None if self._met is None else self._met.drop("key", "listed")

    def of(self, asked: pl.DataFrame) -> tuple[Wholes, Wholes, Tables]:
        """The key of each row, its key at list price, and tables in which all of them are."""
        with self._lock:
            if self._met is not None and (self._met.height > MOST_NAMES or len(self._keys) > MOST_KEYS):
                self._keys, self._known, self._met, self._stale = [], {}, None, True
            met = self._met if self._met is not None else self._meet(asked.clear())
            found = _join(asked, met)
            if found["key"].null_count():
                found = _join(asked, self._meet(asked.filter(found["key"].is_null()).unique()))
            if self._tables is None or self._stale:
                self._tables, self._stale = Tables(self._keys, self._tables), False
            return found["key"].to_numpy(), found["listed"].to_numpy(), self._tables

    def _meet(self, new: pl.DataFrame) -> pl.DataFrame:
        keys, listed = [], []
        for row in new.iter_rows(named=True):
            name = self._named(row)
            priced = self.layers.priced(name)
            keys.append(self._key(name, priced))
            contracted = self._contracts and not self._contracts.isdisjoint(priced.rules)
            at_list = replace(name, listed=True, belongs=())
            listed.append(self._key(at_list, self.layers.priced(at_list)) if contracted else keys[-1])
        met = new.with_columns(pl.Series("key", keys, pl.Int64), pl.Series("listed", listed, pl.Int64))
        self._met = met if self._met is None else pl.concat([self._met, met], rechunk=True)
        return self._met

    def _key(self, name: Name, priced: Priced) -> int:
        # However many names lead to a model, it is one key; what nobody knows is one key for each reason.
        reasons = tuple(cell.unpriced for cell in priced.cells)
        what = (priced.found, priced.listed, name.tier, name.provider, priced.rules) if priced.found else reasons
        key = self._known.get(what)
        if key is None:
            key = self._known[what] = len(self._keys)
            self._keys.append(priced)
            self._stale = True
        return key


def _join(asked: pl.DataFrame, met: pl.DataFrame) -> pl.DataFrame:
    return asked.join(met, on=asked.columns, how="left", nulls_equal=True, maintain_order="left")
