"""What calls are told to be: for each column, which record says it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.count.evidence import Evidence
from spanledger.collector.dialects.fields import WHO
from spanledger.ledger.frame import COLUMNS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: What a call is made of, beside the columns of an entry: whom its resource is for, and what decides how it is told.
_NEEDED = (*COLUMNS, "role", "ended", "series", *(f"resource_{who}" for who in WHO))


@dataclass(slots=True)
class Told:
    """Calls, of which each column is its own record's, at `rows` of the evidence, unless it is taken from another's."""

    evidence: Evidence
    rows: Ints
    _source: dict[str, Ints] = field(default_factory=dict)
    _said: dict[str, pl.Series] = field(default_factory=dict)

    def take(self, name: str, at: Ints, rows: Ints) -> None:
        """Let the calls at these places say what these rows of the evidence say; -1 is nothing."""
        if name not in self._source:
            self._source[name] = self.rows.copy()
        self._source[name][at] = rows

    def say(self, name: str, at: Ints, values: pl.Series) -> None:
        """Let the calls at these places say what no record does."""
        self._said[name] = values
        self.take(name, at, self.evidence.height + np.arange(len(at)))

    def known(self, name: str, known: Flags) -> Flags:
        """Which calls know this, of which `known` says which records do."""
        source = self._source.get(name, self.rows)
        return known[source] & (source >= 0)

    def counts(self, names: Sequence[str], at: Ints) -> dict[str, tuple[Ints, Flags]]:
        """Counts as the calls at these places say them, 0 where they do not know them; and where they do."""
        said = self.evidence.take(np.arange(self.evidence.height), names).fill_null(0)
        found = {}
        for name in names:
            known = self.evidence.knows(name)
            source = self._source.get(name, self.rows)[at]
            knows = np.zeros(len(at), dtype=bool) if known is None else known[source] & (source >= 0)
            found[name] = np.where(knows, said[name].to_numpy()[source], 0), knows
        return found

    def frame(self) -> pl.DataFrame:
        """The calls, with `row`, where in the evidence their own record is."""
        there = set(self.evidence.columns)
        calls = self.evidence.take(self.rows, [name for name in _NEEDED if name in there])
        return calls.with_columns(*(self._column(name) for name in self._source), pl.Series("row", self.rows))

    def _column(self, name: str) -> pl.Series:
        source = self._source[name]
        values: pl.Series = self.evidence[name]
        if name in self._said:
            values = pl.concat([values, self._said[name].cast(values.dtype)], rechunk=True)
        said = values[pl.Series(np.maximum(source, 0))]
        nothing: Any = source < 0
        return said.set(pl.Series(nothing), None).alias(name) if nothing.any() else said.alias(name)
