"""Attributes become fields, one a column: of each dialect's aliases the first present and valid one wins."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector.decode.attributes import ARRAY, FLAG, MAP, RAW, TEXT, Attributes
from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.decode.walk import Bytes
from spanledger.collector.dialects import DIALECTS, dialect_of_scope
from spanledger.collector.dialects.fields import AMOUNTS, COUNTS, FIELDS, TEXTS, WHO
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.feeds import Feeds
from spanledger.collector.recognise.shapes import Shapes
from spanledger.prices.amounts import ABSURD_USD

#: More than this is no count of tokens of one call; the longest contexts hold 10^7.
LARGEST_COUNT = 1_000_000_000
#: Longer texts are cut; embedded objects are read whole.
LONGEST_TEXT = 512
#: No emitter says one thing more often in one record; what more there is is not looked at.
_MOST_CANDIDATES = 32

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_OBJECTS = {"raw", "raw_output", "raw_cost", "model_hint"}
_NO_USAGE = {"batch_calls", "attempt", "status"}
#: Of each field: whether it is a text, holds objects, is a whole number, counts usage; and by what its numbers are multiplied.
_IS_TEXT = np.array([name in TEXTS for name in FIELDS])
_IS_OBJECT = np.array([name in _OBJECTS for name in FIELDS])
_IS_COUNT = np.array([name in COUNTS for name in FIELDS])
_IS_USAGE = np.array([name in COUNTS and name not in _NO_USAGE for name in FIELDS])
_IS_COST = np.array([name in ("cost", "cost_micros") for name in FIELDS])
_FACTOR = np.array([AMOUNTS.get(name, 1.0) for name in FIELDS])
_TYPES: dict[str, Any] = {
    **dict.fromkeys(COUNTS, pl.Int64), **dict.fromkeys(AMOUNTS, pl.Float64), **dict.fromkeys(TEXTS, pl.String)
}  # fmt: skip
_TYPED = {name: pl.col(name).fill_nan(None).cast(kind) for name, kind in _TYPES.items() if kind != pl.String}
_JSON_VALUES = np.array([dialect.json_values for dialect in DIALECTS])
#: Values that mean nothing was said.
ABSENT = ("", "none", "None", "null", "NaN", "nan", "-1", "undefined")
_ABSENT = pa.array(ABSENT)
_LONGEST_ABSENT = 9


@dataclass(slots=True)
class Fields:
    """Columns `FIELDS` for each record, and what was wrong with it: a number of tokens or a cost that is none, a text that was
    cut."""

    columns: list[pl.Series]
    invalid: Flags
    cost_invalid: Flags
    cut: Flags
    #: Records that are also of one dialect, and which of their `places()` feed a field.
    shapes: Shapes
    used: Flags


@dataclass(slots=True)
class _Said:
    """Attributes that feed fields, in the order of their records: field, how many come before it, record, where it stands."""

    field: Bytes
    depth: Bytes
    row: Ints
    at: Ints

    def first(self, good: Flags, value: npt.NDArray[Any], nothing: Any, rows: int) -> tuple[list[str], npt.NDArray[Any]]:
        """The fields that are said at all, and for each the value of every record: of the good ones the first."""
        present = np.flatnonzero(np.bincount(self.field, minlength=len(FIELDS)))
        line = np.zeros(len(FIELDS), dtype=np.int64)
        line[present] = np.arange(len(present)) * rows
        found = np.full((len(present), rows), nothing, dtype=value.dtype)
        cell = line[self.field] + self.row
        # The first is written last.
        for depth in range(int(self.depth.max(initial=0)), -1, -1):
            ours = np.flatnonzero(good & (self.depth == depth))
            found.ravel()[cell[ours]] = value[ours]
        return [FIELDS[at] for at in present.tolist()], found


def read_fields(telemetry: Telemetry, shapes: Shapes, dialect: Ints, attribution: Attribution) -> Fields:
    """One row for each record of the telemetry."""
    return _read(telemetry.keys, telemetry.attributes, shapes, dialect, attribution, FIELDS)


def read_resources(telemetry: Telemetry, attribution: Attribution) -> pl.DataFrame:
    """`WHO` and region for each resource, from its own attributes."""
    count = int(telemetry.records["resource"].max() or 0) + 1  # type: ignore[arg-type]
    last = np.full(count, len(DIALECTS) - 1, dtype=np.int64)
    return _around(telemetry, telemetry.resources, last, attribution, (*WHO, "region"))


def read_scopes(telemetry: Telemetry, attribution: Attribution) -> pl.DataFrame:
    """`WHO` for each scope, from its own attributes as its dialect names them."""
    found = [dialect_of_scope(*scope) for scope in telemetry.scopes]
    dialect = np.array([len(DIALECTS) - 1 if at is None else at for at in found], dtype=np.int64)
    return _around(telemetry, telemetry.scope_attributes, dialect, attribution, WHO)


def _around(
    telemetry: Telemetry, attributes: Attributes, dialect: Ints, attribution: Attribution, wanted: Collection[str]
) -> pl.DataFrame:
    shapes = Shapes.of(attributes, len(dialect))
    return pl.DataFrame(_read(telemetry.keys, attributes, shapes, dialect, attribution, wanted).columns)


def _read(
    keys: list[str], attributes: Attributes, shapes: Shapes, dialect: Ints, attribution: Attribution, wanted: Collection[str]
) -> Fields:
    rows = len(dialect)
    alike = shapes.with_parts(dialect)
    shape, place = alike.places()
    told = dialect[alike.first]
    field, rank = Feeds.of(attribution).read(told[shape], keys, attributes.key[place])
    used = field >= 0
    chosen = np.flatnonzero(used & np.array([name in wanted for name in FIELDS])[field])
    depth = _depths(shape[chosen], field[chosen], rank[chosen], place[chosen])
    chosen, depth = chosen[depth < _MOST_CANDIDATES], depth[depth < _MOST_CANDIDATES]
    is_text, is_object = _IS_TEXT[field[chosen]], _IS_OBJECT[field[chosen]]
    quoted = chosen[_JSON_VALUES[told[shape[chosen]]] & ~is_object]
    if len(quoted):
        attributes = attributes.unquoted(alike.spread(shape[quoted], place[quoted])[2])
    invalid, cost_invalid, cut = (np.zeros(rows, dtype=bool) for _ in range(3))

    def said(which: Flags) -> _Said:
        ours = chosen[which]
        each, row, at = alike.spread(shape[ours], place[ours])
        return _Said(field[ours].astype(np.uint8)[each], depth[which].astype(np.uint8)[each], row, at)

    columns = [
        *_numbers(said(~is_text), attributes, keys, invalid, cost_invalid),
        *_texts(said(is_text & ~is_object), attributes, keys, rows, cut),
        # Evidence is remembered with the buffer in which its texts stand: objects, which are long, have another.
        *_texts(said(is_object), attributes, keys, rows, None),
    ]
    found = {series.name: series for series in columns}
    nothing = {kind: pl.Series([None], dtype=kind).new_from_index(0, rows) for kind in (pl.Int64, pl.Float64, pl.String)}
    columns = [found[name] if name in found else nothing[_TYPES[name]].alias(name) for name in FIELDS if name in wanted]
    return Fields(columns, invalid, cost_invalid, cut, alike, used)


def _depths(shape: Ints, field: Ints, rank: Ints, place: Ints) -> Ints:
    """How many of the attributes that feed one field of a shape come before each; of one that is said twice the last counts."""
    order = np.lexsort((-place, rank, field, shape))
    shape, field = shape[order], field[order]
    begins = np.flatnonzero(np.r_[True, (field[1:] != field[:-1]) | (shape[1:] != shape[:-1])][: len(field)])
    depth = np.empty(len(order), dtype=np.int64)
    depth[order] = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    return depth


def _numbers(said: _Said, attributes: Attributes, keys: list[str], invalid: Flags, cost_invalid: Flags) -> list[pl.Series]:
    """Columns of numbers, for each record the first valid one."""
    if not len(said.at):
        return []
    number, silent = _read_numbers(said, attributes, keys)
    with np.errstate(invalid="ignore"):
        nearest, amount = np.rint(number), number * _FACTOR[said.field]
        cost = _IS_COST[said.field]
        most = np.where(cost, amount <= ABSURD_USD, number <= LARGEST_COUNT)
        good = np.isfinite(number) & (number >= 0) & most
        # Missing, NaN and -1 are how emitters say that they do not know.
        silent |= number == -1
        whole = _IS_COUNT[said.field]
        good &= ~whole | (np.abs(number - nearest) < 1e-6)
    wrong = ~good & ~silent
    invalid[said.row[wrong & _IS_USAGE[said.field]]] = True
    cost_invalid[said.row[wrong & cost]] = True
    names, found = said.first(good, np.where(whole, nearest, amount), np.nan, len(invalid))
    columns = pl.DataFrame([pl.Series(name, values) for name, values in zip(names, found, strict=True)])
    return columns.select(_TYPED[name] for name in names).get_columns()


def _read_numbers(said: _Said, attributes: Attributes, keys: list[str]) -> tuple[npt.NDArray[np.float64], Flags]:
    """The numbers, NaN for none, and where nothing was said at all."""
    number = attributes.numbers(said.at)
    kind = attributes.kind[said.at]
    silent = np.isnan(number) & (kind != FLAG) & (kind != RAW)
    told = np.flatnonzero((kind == TEXT) | (kind == ARRAY) | (kind == MAP))
    if len(told):
        texts = attributes.texts(said.at[told], keys)
        read = cast(pl.Series, pl.from_arrow(texts)).str.strip_chars().str.slice(0, 32).cast(pl.Float64, strict=False)
        number[told] = read.fill_null(np.nan).to_numpy()
        silent[told] = pc.is_in(texts, value_set=_ABSENT).to_numpy(zero_copy_only=False)
    return number, silent


def _texts(said: _Said, attributes: Attributes, keys: list[str], rows: int, cut: Flags | None) -> list[pl.Series]:
    """Columns of texts, as `_numbers`; whole and as they are where there is nothing to say which were cut."""
    if not len(said.at):
        return []
    texts = attributes.spelled(said.at, keys)
    if cut is not None:
        long = _lengths(texts) > LONGEST_TEXT
        if long.any():
            cut[said.row[long]] = True
            texts = pc.if_else(pa.array(long), pc.utf8_slice_codeunits(texts, 0, LONGEST_TEXT), texts)
    good = texts.is_valid().to_numpy(zero_copy_only=False) & ~_absent(texts, attributes.kind[said.at])
    names, found = said.first(good, np.arange(len(texts), dtype=np.uint32), len(texts), rows)
    # Behind the last one stands nothing, for all that say nothing.
    all_of_them = cast(pl.Series, pl.from_arrow(pa.concat_arrays([texts, pa.nulls(1, texts.type)])))
    return [all_of_them[pl.Series(index)].alias(name) for name, index in zip(names, found, strict=True)]


def _absent(texts: pa.Array, kind: npt.NDArray[np.uint8]) -> Flags:
    """Which texts, and no numbers, are words for nothing."""
    absent = np.zeros(len(texts), dtype=bool)
    short = np.flatnonzero((_lengths(texts) <= _LONGEST_ABSENT) & ((kind == TEXT) | (kind == ARRAY) | (kind == MAP)))
    if len(short):
        absent[short] = pc.is_in(texts.take(pa.array(short)), value_set=_ABSENT).to_numpy(zero_copy_only=False)
    return absent


def _lengths(texts: pa.Array) -> Ints:
    """Bytes of each; 0 where there is none."""
    return cast(Ints, pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False))
