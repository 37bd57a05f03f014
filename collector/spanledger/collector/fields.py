"""Attributes become fields, one a column: of each dialect's aliases the first present and valid one wins."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.attributes import ARRAY, FLAG, MAP, TEXT, Attributes
from spanledger.collector.decode import Telemetry
from spanledger.collector.dialects import DIALECTS, aliases, dialect_of_scope
from spanledger.collector.dialects.fields import AMOUNTS, COUNTS, FIELDS, TEXTS, WHO
from spanledger.collector.shapes import Shapes

#: More than this is no count of tokens of one call; the longest contexts hold 10^7.
LARGEST_COUNT = 1_000_000_000
#: Longer texts are cut; embedded objects are read whole.
LONGEST_TEXT = 512
#: No emitter says one thing more often in one record; what more there is is not looked at.
_MOST_CANDIDATES = 32

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_WHOLE = {"raw", "raw_output", "raw_cost", "model_hint"}
_NO_USAGE = {"batch_calls", "attempt", "status"}
_ORDER = {name: index for index, name in enumerate(FIELDS)}
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(COUNTS, pa.int64()), **dict.fromkeys(AMOUNTS, pa.float64()), **dict.fromkeys(TEXTS, pa.string())
}  # fmt: skip
_JSON_VALUES = np.array([dialect.json_values for dialect in DIALECTS])
#: Values that mean nothing was said.
_ABSENT = pa.array(["", "none", "None", "null", "NaN", "nan", "-1", "undefined"])
_LONGEST_ABSENT = 9


@dataclass(slots=True)
class Fields:
    """Columns `FIELDS` for each record, and what was wrong with it: an invalid number of tokens, a text that was cut."""

    columns: pl.DataFrame
    invalid: Flags
    cut: Flags
    dialect: Ints
    _fields: "_Table"
    _attributes: Attributes

    def used(self, at: Ints) -> Flags:
        """Which of the attributes at these places feed a field."""
        attributes = self._attributes
        return self._fields.field(self.dialect[attributes.row[at]], attributes.key[at]) >= 0


def read_fields(telemetry: Telemetry, shapes: Shapes, dialect: Ints, attribution: Mapping[str, tuple[str, ...]]) -> Fields:
    """One row for each record of the telemetry."""
    return _read(telemetry.keys, telemetry.attributes, shapes, dialect, attribution)


def read_resources(telemetry: Telemetry, attribution: Mapping[str, tuple[str, ...]]) -> pl.DataFrame:
    """`WHO` and region for each resource, from its own attributes."""
    count = int(telemetry.records["resource"].max() or 0) + 1  # type: ignore[arg-type]
    last = np.full(count, len(DIALECTS) - 1, dtype=np.int64)
    return _around(telemetry, telemetry.resources, last, attribution).select(*WHO, "region")


def read_scopes(telemetry: Telemetry, attribution: Mapping[str, tuple[str, ...]]) -> pl.DataFrame:
    """`WHO` for each scope, from its own attributes as its dialect names them."""
    found = [dialect_of_scope(*scope) for scope in telemetry.scopes]
    dialect = np.array([len(DIALECTS) - 1 if at is None else at for at in found], dtype=np.int64)
    return _around(telemetry, telemetry.scope_attributes, dialect, attribution).select(*WHO)


def _around(
    telemetry: Telemetry, attributes: Attributes, dialect: Ints, attribution: Mapping[str, tuple[str, ...]]
) -> pl.DataFrame:
    return _read(telemetry.keys, attributes, Shapes.of(attributes, len(dialect)), dialect, attribution).columns


class _Table:
    """Which field each attribute feeds in each dialect, and with which rank; -1 is none."""

    def __init__(self, keys: list[str], dialects: Ints, attribution: Mapping[str, tuple[str, ...]]) -> None:
        frozen = tuple(sorted((name, tuple(names)) for name, names in attribution.items()))
        number_of = {name: number for number, name in enumerate(keys)}
        present = np.unique(dialects)
        self._slot = np.zeros(len(DIALECTS), dtype=np.int64)
        self._slot[present] = np.arange(len(present))
        self._field = np.full((max(len(present), 1), max(len(keys), 1)), -1, dtype=np.int64)
        self._rank = np.zeros_like(self._field)
        for at, dialect in enumerate(present.tolist()):
            for name, (field, rank) in _aliases(dialect, frozen).items():
                if (number := number_of.get(name)) is not None:
                    self._field[at, number], self._rank[at, number] = field, rank

    def field(self, dialect: Ints, key: Ints) -> Ints:
        return self._field[self._slot[dialect], key]

    def rank(self, dialect: Ints, key: Ints) -> Ints:
        return self._rank[self._slot[dialect], key]


@lru_cache(maxsize=1024)
def _aliases(dialect: int, attribution: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, tuple[int, int]]:
    return {key: (_ORDER[field], rank) for key, (field, rank) in aliases(DIALECTS[dialect], dict(attribution)).items()}


def _read(
    keys: list[str], attributes: Attributes, shapes: Shapes, dialect: Ints, attribution: Mapping[str, tuple[str, ...]]
) -> Fields:
    rows = len(dialect)
    table = _Table(keys, dialect, attribution)
    alike = shapes.with_parts(dialect)
    shape, place = alike.places()
    field = table.field(dialect[alike.first[shape]], attributes.key[place])
    fed = field >= 0
    shape, place, field = shape[fed], place[fed], field[fed]
    rank = table.rank(dialect[alike.first[shape]], attributes.key[place])
    slot = place - alike.bounds[alike.first[shape]]
    # Of one attribute said twice the last one counts.
    order = np.lexsort((-slot, rank, shape, field))
    shape, slot, field = shape[order], slot[order], field[order]
    begins = np.flatnonzero(np.r_[True, (field[1:] != field[:-1]) | (shape[1:] != shape[:-1])][: len(field)])
    depth = np.arange(len(field)) - np.repeat(begins, np.diff(np.r_[begins, len(field)]))
    quoted = _JSON_VALUES[dialect]
    invalid, cut = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    columns: dict[str, pa.Array] = {}
    for index, name in enumerate(FIELDS):
        own = slice(*np.searchsorted(field, (index, index + 1)).tolist())
        candidates = []
        for step in range(min(int(depth[own].max(initial=-1)) + 1, _MOST_CANDIDATES)):
            chosen = depth[own] == step
            of_shape = np.full(len(alike.first), -1, dtype=np.int64)
            of_shape[shape[own][chosen]] = slot[own][chosen]
            of_row = of_shape[alike.of_row]
            at = np.flatnonzero(of_row >= 0)
            candidates.append((at, alike.bounds[at] + of_row[at]))
        if not candidates:
            columns[name] = pa.nulls(rows, _TYPES[name])
        elif name in TEXTS:
            columns[name] = _text(name, attributes, keys, candidates, quoted, cut)
        else:
            columns[name] = _number(name, attributes, keys, candidates, quoted, invalid)
    return Fields(cast(pl.DataFrame, pl.from_arrow(pa.table(columns))), invalid, cut, dialect, table, attributes)


def _number(
    name: str, attributes: Attributes, keys: list[str], candidates: list[tuple[Ints, Ints]], quoted: Flags, invalid: Flags
) -> pa.Array:
    """A column of numbers: of the candidates, (records, where their attributes stand), the first valid one of each record."""
    found = np.full(len(quoted), np.nan)
    whole = name not in AMOUNTS
    for row, at in candidates:
        number, silent = _numbers(attributes, keys, at, quoted[row])
        with np.errstate(invalid="ignore"):
            good = np.isfinite(number) & (number >= 0) & (number <= LARGEST_COUNT)
            # Missing, NaN and -1 are how emitters say that they do not know.
            silent |= number == -1
            if whole:
                good &= np.abs(number - np.rint(number)) < 1e-6
        if name in COUNTS and name not in _NO_USAGE:
            invalid[row[~good & ~silent]] = True
        good &= np.isnan(found[row])
        found[row[good]] = np.rint(number[good]) if whole else number[good] * AMOUNTS[name]
    return pa.array(found, mask=np.isnan(found)).cast(_TYPES[name])


def _numbers(attributes: Attributes, keys: list[str], at: Ints, quoted: Flags) -> tuple[npt.NDArray[np.float64], Flags]:
    """The numbers at these places, NaN for none, and where nothing was said at all."""
    number = attributes.numbers(at)
    kind = attributes.kind[at]
    silent = np.isnan(number) & (kind != FLAG)
    told = np.flatnonzero((kind == TEXT) | (kind == ARRAY) | (kind == MAP))
    if len(told):
        texts = _unquoted(attributes.texts(at[told], keys), quoted[told])
        read = cast(pl.Series, pl.from_arrow(texts)).str.slice(0, 32).cast(pl.Float64, strict=False)
        number[told] = read.fill_null(np.nan).to_numpy()
        silent[told] = pc.or_(texts.is_null(), pc.is_in(texts, value_set=_ABSENT)).to_numpy(zero_copy_only=False)
    return number, silent


def _text(
    name: str, attributes: Attributes, keys: list[str], candidates: list[tuple[Ints, Ints]], quoted: Flags, cut: Flags
) -> pa.Array:
    """A column of texts, as `_number`."""
    rows = len(quoted)
    parts: list[pa.Array] = []
    source = np.full(rows, -1, dtype=np.int64)
    for row, at in candidates:
        texts = attributes.spelled(at, keys)
        if name not in _WHOLE:
            texts = _unquoted(texts, quoted[row])
            long = _lengths(texts) > LONGEST_TEXT
            if long.any():
                cut[row[long]] = True
                texts = pc.if_else(pa.array(long), pc.utf8_slice_codeunits(texts, 0, LONGEST_TEXT), texts)
        good = texts.is_valid().to_numpy(zero_copy_only=False) & ~_absent(texts, attributes.kind[at])
        good &= source[row] < 0
        source[row[good]] = sum(map(len, parts)) + np.flatnonzero(good)
        parts.append(texts)
    told = pa.concat_arrays(parts)
    whole = len(told) == rows and bool((source == np.arange(rows)).all())
    return told if whole else told.take(pa.array(source, mask=source < 0))


def _unquoted(texts: pa.Array, quoted: Flags) -> pa.Array:
    return pc.if_else(pa.array(quoted), pc.utf8_trim(texts, '"'), texts) if quoted.any() else texts


def _absent(texts: pa.Array, kind: npt.NDArray[np.uint8]) -> Flags:
    """Which texts, and no numbers, are words for nothing."""
    if not (_lengths(texts) <= _LONGEST_ABSENT).any():
        return np.zeros(len(texts), dtype=bool)
    absent = pc.is_in(texts, value_set=_ABSENT).to_numpy(zero_copy_only=False)
    return cast(Flags, absent & ((kind == TEXT) | (kind == ARRAY) | (kind == MAP)))


def _lengths(texts: pa.Array) -> Ints:
    """Bytes of each; 0 where there is none."""
    return cast(Ints, pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False))
