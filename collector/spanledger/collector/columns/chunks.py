"""Rows kept in the pieces in which they came: adding some moves none of the others, and only what is asked for is fetched."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Pieces of up to so many rows are put together, two of about one size at a time, so that few are left of many small ones.
_SMALL = 8_192


class Chunks:
    """A frame of these columns that grows at its end; a column that is null in a whole piece is not kept there."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)
        self._frames: list[pl.DataFrame] = []
        self._begins = np.zeros(0, dtype=np.int64)
        self.height = 0

    def append(self, frame: pl.DataFrame) -> None:
        """Add rows; columns that the schema does not name are left out, those it names and the frame lacks are null."""
        if not frame.height:
            return
        while len(self._frames) > 1 and _fit(self._frames[-2].height, self._frames[-1].height):
            last = self._frames.pop()
            self._frames[-1] = pl.concat([self._frames[-1], last], how="diagonal").rechunk()
        columns = [frame.get_column(name) for name in self.schema if name in frame.columns]
        said = [column for column in columns if column.null_count() < frame.height]
        self._frames.append(pl.DataFrame(said or columns[:1]))
        self._measure()

    def beside(self, frame: pl.DataFrame) -> "Chunks":
        """These rows and some more, for as long as someone looks at them together."""
        both = Chunks(self.schema)
        both._frames = list(self._frames)
        both.append(frame)
        return both

    def amend(self, columns: Sequence[pl.Series]) -> None:
        """Let what was added last say this as well."""
        said = [column.cast(self.schema[column.name]) for column in columns if column.null_count() < len(column)]
        self._frames[-1] = self._frames[-1].with_columns(said)

    def last(self) -> Rows:
        """The rows that were added last."""
        return np.arange(self._begins[-1] if self._frames else 0, self.height)

    def keep(self, kept: Flags) -> None:
        """Let go of all rows but these."""
        frames = []
        for begin, frame in zip(self._begins.tolist(), self._frames, strict=True):
            part = kept[begin : begin + frame.height]
            first = int(part.argmax()) if part.any() else frame.height
            if part[first:].all():
                frames.append(frame.slice(first))
            else:
                frames.append(frame.filter(pl.Series(part)).rechunk())
        frames = [frame for frame in frames if frame.height]
        self._frames = frames
        self._measure()

    def column(self, name: str, rows: Rows) -> pl.Series:
        """One column at these rows."""
        return self.take(rows, [name]).to_series()

    def take(self, rows: Rows, names: Sequence[str] | None = None) -> pl.DataFrame:
        """These rows in this order; all columns or those of these names."""
        wanted = self.schema if names is None else {name: self.schema[name] for name in names}
        return in_columns(self.told(rows, wanted), wanted, len(rows))

    def told(self, rows: Rows, names: Collection[str] | None = None) -> pl.DataFrame:
        """These rows in this order, in one piece; of the columns those that their pieces have."""
        order, pieces = self._pieces(rows)
        parts = [(self._frames[at], places) for at, places in pieces]
        here = {name for frame, _ in parts for name in frame.columns}
        wanted = {name: kind for name, kind in self.schema.items() if name in here and (names is None or name in names)}
        frames = [gathered(frame, places, wanted) for frame, places in parts]
        if len(frames) < 2:
            return frames[0] if frames else pl.DataFrame()
        frame = pl.concat(frames, rechunk=True)
        return frame if order is None else frame[pl.Series(np.argsort(order, kind="stable"))]

    def estimated_size(self) -> int:
        """Bytes, about."""
        return sum(int(frame.estimated_size()) for frame in self._frames)

    def _measure(self) -> None:
        heights = np.array([0, *(frame.height for frame in self._frames)], dtype=np.int64)
        ends = np.cumsum(heights)
        self._begins, self.height = ends[:-1], int(ends[-1])

    def _pieces(self, rows: Rows) -> tuple[Rows | None, Iterator[tuple[int, Rows]]]:
        """The order in which the rows are fetched, if it is not theirs, and for each chunk which of its rows."""
        if len(self._frames) == 1 and len(rows):
            return None, iter([(0, rows)])
        which = np.searchsorted(self._begins, rows, side="right") - 1
        order = None
        if len(which) and (which[1:] < which[:-1]).any():
            order = np.argsort(which, kind="stable")
            rows, which = rows[order], which[order]
        bounds = [0, *(np.flatnonzero(which[1:] != which[:-1]) + 1).tolist(), len(rows)] if len(rows) else [0]
        return order, ((at, rows[begin:end] - self._begins[at]) for begin, end in pairwise(bounds) for at in (int(which[begin]),))


def _fit(larger: int, smaller: int) -> bool:
    return larger + smaller <= _SMALL and larger <= 2 * smaller


def index_of(places: Rows) -> pl.Series:
    """Places as Polars counts them, which it need not look through for negative ones; what is at -1 is null."""
    index = pl.Series(places.astype(np.uint32))
    nothing = places < 0
    return index.set(pl.Series(nothing), None) if nothing.any() else index


def gathered(frame: pl.DataFrame, places: Rows, schema: Mapping[str, Any]) -> pl.DataFrame:
    """The rows at these places, of which -1 is one of nulls, in these columns; those the frame lacks are null."""
    here = frozenset(frame.columns)
    known = [name for name in schema if name in here]
    count = len(places)
    taken = frame if len(known) == len(here) else frame[known] if known else pl.DataFrame()
    if known and count and places[0] >= 0 and places[-1] - places[0] + 1 == count and (places[1:] > places[:-1]).all():
        taken = taken if count == frame.height else taken.slice(int(places[0]), count)
    elif known:
        taken = taken[index_of(places)]
    return in_columns(taken, schema, count)


def in_columns(frame: pl.DataFrame, schema: Mapping[str, Any], height: int | None = None) -> pl.DataFrame:
    """The frame in these columns, of these types already or null; those it lacks are null."""
    here = dict(zip(frame.columns, frame.dtypes, strict=True))
    count = frame.height if height is None else height
    odd = [name for name, kind in schema.items() if name in here and not _is(here[name], kind)]
    lacking = [name for name in schema if name not in here]
    if odd:
        frame = frame.with_columns(frame.get_column(name).cast(schema[name]) for name in odd)
    if lacking:
        nothing = [_nothing(name, schema[name]).new_from_index(0, count) for name in lacking]
        frame = frame.hstack(nothing) if here else pl.DataFrame(nothing)
    return frame[list(schema)]


#: Types without parameters: to compare two types as Polars does takes 1.6 µs, for each column of each frame.
_PLAIN = frozenset((pl.String, pl.Int64, pl.Int32, pl.Float64, pl.Boolean, pl.Date))


def _is(given: Any, kind: Any) -> bool:
    of = given.__class__
    return of is kind or (of is kind.__class__ and of in _PLAIN) or bool(given == kind)


@lru_cache(maxsize=1024)
def _nothing(name: str, kind: Any) -> pl.Series:
    return pl.Series(name, [None], dtype=kind)


def stacked(frames: Sequence[pl.DataFrame], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Frames one below another, in one piece, as `in_columns`. What nobody says is not moved: it is most of what is wide."""
    parts = []
    for frame in frames:
        said = {
            column.name: schema[column.name]
            for column in frame.get_columns()
            if column.name in schema and column.null_count() < frame.height
        }
        if said:
            parts.append(in_columns(frame, said))
        elif frame.height:
            parts.append(in_columns(frame, dict([next(iter(schema.items()))])))
    return in_columns(pl.concat(parts, how="diagonal", rechunk=True), schema) if parts else pl.DataFrame(schema=schema)
