"""Attributes, one a row, become fields, one a column: each dialect's first present and valid attribute wins."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.decode import Telemetry
from spanledger.collector.dialects import (
    DIALECTS,
    aliases,
    dialect_of_scope,
    dialect_of_span,
    marker_dialects,
    telling_spans,
)
from spanledger.collector.dialects.fields import AMOUNTS, COUNTS, FIELDS, TEXTS, WHO

#: More than this is no count of tokens of one call; the longest contexts hold 10^7.
LARGEST_COUNT = 1_000_000_000
#: Longer texts are cut; embedded objects are read whole.
LONGEST_TEXT = 512

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_WHOLE = {"raw", "raw_output", "raw_cost", "model_hint"}
_KIND = np.array([0] * len(COUNTS) + [1] * len(AMOUNTS) + [2] * len(TEXTS))
_USAGE = np.array([name not in ("batch_calls", "attempt", "status") for name in COUNTS] + [False] * (len(AMOUNTS) + len(TEXTS)))
_KEEPS_LENGTH = np.array([name in _WHOLE for name in FIELDS])
_JSON_VALUES = np.array([dialect.json_values for dialect in DIALECTS])
_TELLING = telling_spans()
#: Values that mean nothing was said.
_ABSENT = ["", "none", "None", "null", "NaN", "nan", "-1", "undefined"]


@dataclass(slots=True)
class Fields:
    """Columns `FIELDS` for each record, the dialect that read it, and what was wrong with it."""

    columns: pl.DataFrame
    dialect: Ints
    invalid: Flags
    cut: Flags
    #: which attribute of `Telemetry.attributes` fed a field
    used: Flags


def dialects_of(telemetry: Telemetry) -> tuple[Ints, Flags]:
    """Index into DIALECTS for each record, and whether it was proved at all; by scope first, then by marker."""
    records, attributes = telemetry.records, telemetry.attributes
    of_scopes = [dialect_of_scope(*scope) for scope in telemetry.scopes]
    by_scope = np.array([-1 if of_scope is None else of_scope for of_scope in of_scopes] or [-1], dtype=np.int64)
    found = by_scope[records["scope"].to_numpy()] if records.height else np.empty(0, dtype=np.int64)
    found = _told_by_name(telemetry, found)
    last = len(DIALECTS) - 1
    markers = marker_dialects()
    of_key = np.array([markers.get(key, last + 1) for key in telemetry.keys] or [last + 1])
    keys = attributes["key"].to_numpy()
    marks = of_key[keys]
    hits = marks <= last
    marked = np.full(records.height, last + 1, dtype=np.int64)
    np.minimum.at(marked, attributes["row"].to_numpy()[hits], marks[hits])
    scopeless = np.array([not dialect.scopes for dialect in DIALECTS] + [False])
    # A marker without a scope of its own tells versions of one scope apart.
    wins = (marked <= last) & ((found < 0) | (scopeless[marked] & (marked < last)))
    chosen = np.where(wins, marked, found)
    proved = chosen >= 0
    return np.where(proved, chosen, last), proved


def _told_by_name(telemetry: Telemetry, found: Ints) -> Ints:
    """The dialects with those that only a span's name tells from others of its scope."""
    telling = telemetry.records["name"].is_in(list(_TELLING)) & (telemetry.records["signal"] == "traces")
    rows = telling.fill_null(False).arg_true()
    if not rows.len():
        return found
    named = telemetry.records[rows].select("scope", "name")
    told = [dialect_of_span(*telemetry.scopes[scope], name) for scope, name in named.iter_rows()]
    found = found.copy()
    at = rows.to_numpy()
    found[at] = [was if tells is None else tells for tells, was in zip(told, found[at].tolist(), strict=True)]
    return found


def read_fields(telemetry: Telemetry, dialect: Ints, attribution: Mapping[str, tuple[str, ...]]) -> Fields:
    """One row for each record of the telemetry."""
    return _read(telemetry.keys, telemetry.attributes, dialect, _frozen(attribution))


def read_resources(telemetry: Telemetry, attribution: Mapping[str, tuple[str, ...]]) -> pl.DataFrame:
    """`WHO` and region for each resource, from its own attributes."""
    count = int(telemetry.records["resource"].max() or 0) + 1  # type: ignore[arg-type]
    last = np.full(count, len(DIALECTS) - 1, dtype=np.int64)
    return _read(telemetry.keys, telemetry.resources, last, _frozen(attribution)).columns.select(*WHO, "region")


def read_scopes(telemetry: Telemetry, attribution: Mapping[str, tuple[str, ...]]) -> pl.DataFrame:
    """`WHO` for each scope, from its own attributes as its dialect names them."""
    found = [dialect_of_scope(*scope) for scope in telemetry.scopes]
    dialect = np.array([len(DIALECTS) - 1 if at is None else at for at in found], dtype=np.int64)
    return _read(telemetry.keys, telemetry.scope_attributes, dialect, _frozen(attribution)).columns.select(*WHO)


def _frozen(attribution: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((name, tuple(names)) for name, names in attribution.items()))


@lru_cache(maxsize=1024)
def _aliases(dialect: int, attribution: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, tuple[int, int]]:
    order = {name: index for index, name in enumerate(FIELDS)}
    return {key: (order[field], rank) for key, (field, rank) in aliases(DIALECTS[dialect], dict(attribution)).items()}


def _read(
    keys: list[str], attributes: pl.DataFrame, dialect: Ints, attribution: tuple[tuple[str, tuple[str, ...]], ...]
) -> Fields:
    rows = len(dialect)
    row, key = attributes["row"].to_numpy(), attributes["key"].to_numpy()
    present = np.unique(dialect)
    slot = np.zeros(len(DIALECTS), dtype=np.int64)
    slot[present] = np.arange(len(present))
    field_of = np.full((max(len(present), 1), max(len(keys), 1)), -1, dtype=np.int64)
    rank_of = np.zeros_like(field_of)
    for at, index in enumerate(present):
        table = _aliases(int(index), attribution)
        for number, name in enumerate(keys):
            if (hit := table.get(name)) is not None:
                field_of[at, number], rank_of[at, number] = hit
    spoken = dialect[row]
    field = field_of[slot[spoken], key]
    used = field >= 0
    chosen = np.flatnonzero(used)
    field, row, rank = field[chosen], row[chosen], rank_of[slot[spoken[chosen]], key[chosen]]
    values = _values(attributes[chosen] if len(chosen) < attributes.height else attributes, field, _JSON_VALUES[spoken[chosen]])
    fits = values.fits
    invalid, cut = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    invalid[row[values.wrong & _USAGE[field]]] = True
    cut[row[values.cut]] = True
    # The winner of each (record, field) is written last.
    order = np.argsort(-rank[fits], kind="stable")
    written = np.flatnonzero(fits)[order]
    winner = np.full((len(FIELDS), rows), len(chosen), dtype=np.int64)
    winner[field[written], row[written]] = written
    numbers = np.append(values.numbers, np.nan)
    texts = pl.concat([values.texts, pl.Series("texts", [None], dtype=pl.String)])
    columns: list[pl.Series] = []
    factors = list(AMOUNTS.values())
    for index, name in enumerate(FIELDS):
        source = winner[index]
        if not (source < len(chosen)).any():
            columns.append(pl.Series(name, [None], dtype=_TYPES[_KIND[index]]).new_from_index(0, rows))
        elif _KIND[index] == 2:
            columns.append(texts.gather(pl.Series(source)).alias(name))
        else:
            column = pl.Series(name, numbers[source], nan_to_null=True)
            columns.append(column.cast(pl.Int64) if _KIND[index] == 0 else column * factors[index - len(COUNTS)])
    return Fields(pl.DataFrame(columns), dialect, invalid, cut, used)


_TYPES: list[Any] = [pl.Int64, pl.Float64, pl.String]


@dataclass(slots=True)
class _Values:
    numbers: npt.NDArray[np.float64]
    texts: pl.Series
    fits: Flags
    wrong: Flags
    cut: Flags


def _values(attributes: pl.DataFrame, field: Ints, json_values: Flags) -> _Values:
    kind = _KIND[field]
    keeps = _KEEPS_LENGTH[field]
    frame = attributes.select(
        pl.col("text"),
        pl.coalesce(pl.col("whole").cast(pl.Float64), pl.col("real")).alias("number"),
        pl.col("flag"),
        pl.col("whole"),
        pl.Series("numeric", kind < 2),
        pl.Series("keeps", keeps),
        pl.Series("quoted", json_values & ~keeps),
    )
    unquoted = pl.when("quoted").then(pl.col("text").str.strip_chars('"')).otherwise(pl.col("text"))
    frame = frame.with_columns(unquoted.alias("text")).with_columns(
        (pl.col("text").is_in(_ABSENT)).alias("absent"),
        pl.when(pl.col("numeric") & pl.col("text").is_not_null())
        .then(pl.col("text").str.slice(0, 32).cast(pl.Float64, strict=False))
        .otherwise(pl.col("number"))
        .alias("number"),
        pl.when(~pl.col("numeric") & ~pl.col("keeps") & (pl.col("text").str.len_bytes() > LONGEST_TEXT))
        .then(True)
        .otherwise(False)
        .alias("cut"),
        pl.when(pl.col("numeric"))
        .then(None)
        .otherwise(
            pl.coalesce("text", pl.col("whole").cast(pl.String), pl.col("number").cast(pl.String), pl.col("flag").cast(pl.String))
        )
        .alias("texts"),
    )
    frame = frame.with_columns(pl.when("cut").then(pl.col("texts").str.slice(0, LONGEST_TEXT)).otherwise("texts").alias("texts"))
    number = frame["number"].fill_null(np.nan).to_numpy()
    absent = frame["absent"].fill_null(False).to_numpy()
    numeric = kind < 2
    with np.errstate(invalid="ignore"):
        sound = np.isfinite(number) & (number >= 0) & (number <= LARGEST_COUNT)
        # Missing, NaN and -1 are how emitters say that they do not know.
        silent = (
            absent | (number == -1) | (np.isnan(number) & frame["text"].is_null().to_numpy() & frame["flag"].is_null().to_numpy())
        )
        whole = (kind != 0) | ~sound | (np.abs(number - np.rint(number)) < 1e-6)
    good = np.where(numeric, sound & whole, (frame["texts"].is_not_null().to_numpy()) & ~absent)
    number = np.where(kind == 0, np.rint(number), number)
    return _Values(number, frame["texts"], good, numeric & ~good & ~silent, frame["cut"].to_numpy())
