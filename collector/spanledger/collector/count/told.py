"""What calls are told to be: for each column, which record says it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.chunks import in_columns, index_of
from spanledger.collector.count.evidence import Evidence
from spanledger.ledger.frame import COLUMNS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Told:
    """Calls, of which each column is its own record's, at `rows` of the evidence, unless it is taken from another's.

    Nothing is moved until all is known: `beside` fetches each column once.
    """

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
        values = values.cast(self._kind(name))
        said = pl.concat([self._said[name], values]) if name in self._said else values
        self.take(name, at, self.evidence.height + len(said) - len(at) + np.arange(len(at)))
        self._said[name] = said

    def known(self, name: str) -> Flags:
        """Which calls know this."""
        source = self._source.get(name, self.rows)
        known = self.evidence.knows(name)
        said = np.ones(len(self._said[name]), dtype=bool) if name in self._said else np.zeros(0, dtype=bool)
        of_rows = np.zeros(self.evidence.height, dtype=bool) if known is None else known
        return np.concatenate([of_rows, said])[source] & (source >= 0)

    def counts(self, names: Sequence[str], at: Ints) -> dict[str, tuple[Ints, Flags]]:
        """Counts as the calls at these places say them, 0 where they do not know them; and where they do."""
        said = self.columns(names, at).select(pl.all().fill_null(0))
        return {name: (said[name].to_numpy(), self.known(name)[at]) for name in names}

    def at(self, places: Ints) -> "Told":
        """The calls at these places alone."""
        source = {name: rows[places] for name, rows in self._source.items()}
        return Told(self.evidence, self.rows[places], source, self._said)

    def columns(self, names: Sequence[str], at: Ints | None = None) -> pl.DataFrame:
        """What the calls, or those at these places, say in these columns."""
        calls = self if at is None else self.at(at)
        found = calls.beside(names, calls.rows[:0])
        return in_columns(found, {name: self._kind(name) for name in names}, len(calls.rows))

    def column(self, name: str, at: Ints | None = None) -> pl.Series:
        """What the calls, or those at these places, say in one column."""
        return self.columns([name], at).to_series()

    def beside(self, names: Sequence[str], also: Ints) -> pl.DataFrame:
        """Of these columns those that anybody says: the calls, and below them these rows of the evidence; -1 says nothing."""
        own = [name for name in names if name not in self._source and self.evidence.knows(name) is not None]
        found = self.evidence.take(np.concatenate([self.rows, also]), own).get_columns() if own else []
        return pl.DataFrame([*found, *(self._column(name, also) for name in names if name in self._source)])

    def _column(self, name: str, also: Ints) -> pl.Series:
        values = self.evidence[name] if self.evidence.knows(name) is not None else None
        if values is None:
            values = pl.Series(name, [None], dtype=self._kind(name)).new_from_index(0, self.evidence.height)
        if name in self._said:
            values = pl.concat([values, self._said[name].alias(name)], rechunk=True)
        return values[index_of(np.concatenate([self._source[name], also]))]

    def _kind(self, name: str) -> pl.DataType:
        return COLUMNS[name]
