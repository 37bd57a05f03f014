"""Which field each attribute feeds in each dialect: a table, made once for each configured attribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from spanledger.collector.dialects import DIALECTS, aliases
from spanledger.collector.dialects.fields import FIELDS
from spanledger.collector.recognise.attribution import Attribution

Ints = npt.NDArray[np.int64]

_ORDER = {name: index for index, name in enumerate(FIELDS)}


@dataclass(frozen=True, slots=True)
class Feeds:
    """By dialect and attribute: the index of the field in `FIELDS`, -1 for none, and which of the field's attributes it is."""

    _number: dict[str, int]
    _field: Ints
    _rank: Ints

    @staticmethod
    @lru_cache(maxsize=16)
    def of(attribution: Attribution) -> "Feeds":
        """The table of all dialects."""
        tables = [aliases(dialect, attribution.table()) for dialect in DIALECTS]
        number = {name: at for at, name in enumerate({name: None for table in tables for name in table})}
        field = np.full((len(tables), len(number) + 1), -1, dtype=np.int64)
        rank = np.zeros_like(field)
        for at, table in enumerate(tables):
            for name, (told, place) in table.items():
                field[at, number[name]], rank[at, number[name]] = _ORDER[told], place
        return Feeds(number, field, rank)

    def read(self, dialect: Ints, keys: Sequence[str], key: Ints) -> tuple[Ints, Ints]:
        """Field and rank of each of these attributes, numbers of `keys`, in the dialect beside it."""
        unknown = len(self._number)
        number = np.array([self._number.get(name, unknown) for name in keys] or [unknown])[key]
        return self._field[dialect, number], self._rank[dialect, number]
