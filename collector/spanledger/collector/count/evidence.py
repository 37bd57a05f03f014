"""Records of evidence laid side by side: what decisions are taken by as narrow arrays, the rest fetched when asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.chunks import Flags, Rows, gathered
from spanledger.collector.columns.keys import entry_keys, hashed, keys_of, known, mixed

#: What a record can be taken for, as codes; what is none of these is "span".
#: `past` is a point of a metric that only serves to measure later ones from.
ROLES = ("span", "leaf", "agent", "tool", "repeat", "never", "correction", "metric", "heard", "link", "past")
SPAN, LEAF, AGENT, TOOL, REPEAT, NEVER, CORRECTION, METRIC, HEARD, LINK, PAST = range(len(ROLES))
_CODE = pl.Enum(ROLES)

#: Keys by which records of one call find each other: hashes, stable within this process only; 0 for none. Those of entries
#: are in the order of their ids.
KEYS = ("entry", "trace", "span", "parent", "response", "request", "emitter", "voice")

#: Flags that make one reading of a call worth less than another.
_DOUBTS = (
    "cache_unknown",
    "reasoning_lost",
    "detail_lost",
    "semantics_assumed",
    "output_unknown",
    "usage_unknown",
    "tokens_invalid",
)
#: A record's `precedence`: usage before none, then how near its signal is to the call, fewer doubts, more details.
_NEAR, _DOUBTFUL, _DETAILED = 16, 8, 255

#: The narrow arrays; moments are microseconds and 0 where there is none, counts are -1 where there is none. Of the records
#: of one call the one of the least `precedence` speaks for it.
NARROW: Mapping[str, npt.DTypeLike] = {
    **dict.fromkeys(KEYS, np.uint64),
    "role": np.uint8, "logs": np.bool_, "said": np.bool_, "failed": np.bool_, "cumulative": np.bool_,
    "points": np.bool_,
    "lost": np.bool_, "precedence": np.int32,
    "started": np.int64, "ended": np.int64, "arrived": np.int64, "input": np.int64, "output": np.int64,
}  # fmt: skip

_TRACES, _LOGS, _METRICS = keys_of(pl.Series(["traces", "logs", "metrics"]))


def voice() -> pl.Expr:
    """Who speaks: one instrumentation in one signal says a call once; log events of different names may say it twice."""
    said = pl.when(pl.col("signal") == "logs").then(pl.col("name").fill_null("")).otherwise(pl.lit(""))
    return pl.concat_str([pl.col("signal"), pl.col("scope_name").fill_null(""), said], separator="/").alias("voice")


def narrowed(frame: pl.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """The narrow arrays of a frame of evidence."""
    texts = ("trace_id", "span_id", "parent_span_id", "response_id", "request_id", "emitter", "signal", "scope_name", "name")
    said = frame.select(
        hashed(texts),
        pl.col("role").cast(_CODE, strict=False).to_physical().fill_null(SPAN).cast(pl.UInt8),
        pl.col("said").fill_null(False),
        (pl.col("outcome") == "error").fill_null(False).alias("failed"),
        pl.col("cumulative").fill_null(False),
        *(pl.col(name).fill_null(0) for name in ("started", "ended", "arrived", "detail")),
        pl.col("rank").fill_null(9),
        *(
            (pl.col(f"{name}_tokens") - pl.col(f"beside_{name}_tokens").fill_null(0)).fill_null(-1).alias(name)
            for name in ("input", "output")
        ),
    )
    given = {name: said[name].to_numpy() for name in said.columns}
    given |= {name: known(given[name]) for name in texts}
    trace, own, logs = given["trace_id"], given["span_id"], given["signal"] == _LOGS
    span = np.where((trace != 0) & (own != 0) & (given["signal"] == _TRACES), mixed(trace, own), np.uint64(0))
    above = np.where(logs, own, given["parent_span_id"])
    parent = np.where((trace != 0) & (above != 0), mixed(trace, above), np.uint64(0))
    doubts, lost = _doubted(frame["flags"])
    silent = (~given["said"]).astype(np.int32)
    told = {
        "entry": entry_keys(frame["entry_id"]), "trace": trace, "span": span, "parent": parent,
        "response": given["response_id"], "request": given["request_id"], "emitter": given["emitter"],
        "voice": mixed(given["signal"], given["scope_name"], np.where(logs, given["name"], np.uint64(0))),
        "logs": logs,
        "points": given["signal"] == _METRICS,
        "lost": lost,
        "precedence": ((silent * _NEAR + given["rank"]) * _DOUBTFUL + doubts) * (_DETAILED + 1) + _DETAILED - given["detail"],
    }  # fmt: skip
    return told | {name: given[name] for name in NARROW if name not in told}


def _doubted(flags: pl.Series) -> tuple[Rows, Flags]:
    """How many doubts each record raises, and whether it lost its reasoning."""
    rows = np.flatnonzero(flags.list.len().fill_null(0).to_numpy())
    raised = flags.gather(pl.Series(rows))
    row = np.repeat(rows, raised.list.len().to_numpy())
    words = raised.explode()
    lost = np.zeros(len(flags), dtype=bool)
    lost[row[(words == "reasoning_lost").to_numpy()]] = True
    return np.bincount(row[words.is_in(_DOUBTS).to_numpy()], minlength=len(flags)), lost


def nearness(precedence: Rows) -> Rows:
    """How near to the call the signals of records of this precedence are, 0 being the nearest."""
    return precedence // ((_DETAILED + 1) * _DOUBTFUL) % _NEAR


def lacking(precedence: Rows) -> Rows:
    """How many details records of this precedence lack of the most there are."""
    return precedence % (_DETAILED + 1)


class Evidence:
    """Records together. `narrow` are their arrays; the columns of `frame`, in which what nobody says is left out, are for
    the few that are asked for more."""

    def __init__(
        self, frame: pl.DataFrame, schema: Mapping[str, Any], narrow: Mapping[str, npt.NDArray[Any]], at: Rows | None = None
    ) -> None:
        """`at` are the rows of the frame, if they are not all."""
        self.narrow = dict(narrow)
        self._frame, self._schema, self._at = frame, schema, at
        self._here = frozenset(frame.columns)
        #: of each column which rows of the frame know it, once it was asked for; parts share it
        self._known: dict[str, Flags] = {}

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Evidence":
        """A frame alone."""
        return cls(frame, frame.schema, narrowed(frame))

    @property
    def height(self) -> int:
        """How many records."""
        return len(self.narrow["role"])

    @property
    def columns(self) -> list[str]:
        """What can be asked for."""
        return list(self._schema)

    def __getitem__(self, name: str) -> pl.Series:
        if self._at is None and name in self._here:
            return self._frame.get_column(name)
        return self.take(np.arange(self.height), [name]).to_series()

    def knows(self, name: str) -> Flags | None:
        """Which records know this; None if none does."""
        if name not in self._here:
            return None
        if not self._known:
            self._known.update((column.name, _valid(column)) for column in self._frame.get_columns())
        known = self._known[name] if self._at is None else self._known[name][self._at]
        return known if known.any() else None

    def _rows(self) -> Rows:
        return np.arange(self.height) if self._at is None else self._at

    def take(self, at: Rows, names: Sequence[str] | None = None) -> pl.DataFrame:
        """The records at these places in this order, of which -1 says nothing; all columns or those of these names."""
        wanted = self._schema if names is None else {name: self._schema[name] for name in names}
        return gathered(self._frame, at if self._at is None else np.where(at < 0, at, self._at[at]), wanted)

    def part(self, at: Rows) -> "Evidence":
        """The records at these places alone."""
        narrow = {name: array[at] for name, array in self.narrow.items()}
        part = Evidence(self._frame, self._schema, narrow, at if self._at is None else self._at[at])
        part._known = self._known
        return part

    def beside(self, frame: pl.DataFrame) -> "Evidence":
        """These records and some more."""
        more = narrowed(frame)
        both = pl.concat([self.take(np.arange(self.height)), frame], rechunk=True)
        return Evidence(both, self._schema, {name: np.concatenate([array, more[name]]) for name, array in self.narrow.items()})

    def raised(self, at: Rows, flag: str) -> pl.Series:
        """The flags of these records with one more."""
        flags = self.take(at, ["flags"])
        return flags.select(pl.col("flags").fill_null([]).list.concat(pl.lit([flag]))).to_series()

    def flagged(self, at: Rows, flag: str) -> "Evidence":
        """The same records, these with one more flag."""
        return self.changed({"flags": (at, self.raised(at, flag))})

    def changed(self, told: Mapping[str, tuple[Rows, pl.Series]]) -> "Evidence":
        """The same records, of which those at these places say this instead: a role, `said`, flags, measures."""
        other = Evidence(gathered(self._frame, self._rows(), self._frame.schema), self._schema, self.narrow)
        other._frame = other._frame.with_columns(_instead(self[name], at, said) for name, (at, said) in told.items())
        for name, narrow in (("role", "role"), ("said", "said"), ("input_tokens", "input"), ("output_tokens", "output")):
            if name in told:
                at, said = told[name]
                other.narrow[narrow] = self.narrow[narrow].copy()
                other.narrow[narrow][at] = said.cast(_CODE).to_physical().to_numpy() if name == "role" else said.to_numpy()
        return other


def _instead(column: pl.Series, at: Rows, said: pl.Series) -> pl.Series:
    said = said.cast(column.dtype)
    if column.dtype != pl.List:
        return column.clone().scatter(pl.Series(at), said)
    place = np.arange(len(column))
    place[at] = len(column) + np.arange(len(at))
    return pl.concat([column, said], rechunk=True)[pl.Series(place)].alias(column.name)


def _valid(column: pl.Series) -> Flags:
    """Where the column is not null: half the time that an expression over all columns takes."""
    if not column.null_count():
        return np.ones(len(column), dtype=bool)
    told = column.to_arrow(compat_level=pl.CompatLevel.newest())
    bits = np.frombuffer(told.buffers()[0], dtype=np.uint8)
    return np.unpackbits(bits, bitorder="little")[told.offset : told.offset + len(told)].view(bool)
