"""Records of evidence laid side by side: what decisions are taken by as narrow arrays, the rest fetched when asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.chunks import Flags, Rows, gathered

Keys = npt.NDArray[np.uint64]

#: What a record can be taken for, as codes; what is none of these is "span".
ROLES = ("span", "leaf", "agent", "tool", "repeat", "never", "correction", "metric", "heard", "link")
SPAN, LEAF, AGENT, TOOL, REPEAT, NEVER, CORRECTION, METRIC, HEARD, LINK = range(len(ROLES))
_CODE = pl.Enum(ROLES)

#: Keys by which records of one call find each other: hashes, stable within this process only; 0 for none.
KEYS = ("entry", "trace", "span", "parent", "response", "request", "emitter", "voice")

#: The narrow arrays; moments are microseconds and 0 where there is none, counts are -1 where there is none.
NARROW: Mapping[str, npt.DTypeLike] = {
    **dict.fromkeys(KEYS, np.uint64),
    "role": np.uint8, "logs": np.bool_, "said": np.bool_, "failed": np.bool_, "cumulative": np.bool_,
    "started": np.int64, "ended": np.int64, "arrived": np.int64, "input": np.int64, "output": np.int64,
}  # fmt: skip

_ODD = np.uint64(0x9E3779B97F4A7C15)


def mixed(*words: Keys) -> Keys:
    """One key for several together."""
    with np.errstate(over="ignore"):
        word = words[0]
        for other in words[1:]:
            word = (word ^ (word >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + other * _ODD
        return word ^ (word >> np.uint64(32))


def voice() -> pl.Expr:
    """Who speaks: one instrumentation in one signal says a call once; log events of different names may say it twice."""
    said = pl.when(pl.col("signal") == "logs").then(pl.col("name").fill_null("")).otherwise(pl.lit(""))
    return pl.concat_str([pl.col("signal"), pl.col("scope_name").fill_null(""), said], separator="/").alias("voice")


def narrowed(frame: pl.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """The narrow arrays of a frame of evidence."""
    texts = ("entry_id", "trace_id", "span_id", "parent_span_id", "response_id", "request_id", "emitter", "signal",
             "scope_name", "name")  # fmt: skip
    said = frame.select(
        *(pl.when(pl.col(name).is_not_null()).then(pl.col(name).hash(7)).otherwise(pl.lit(0, dtype=pl.UInt64)) for name in texts),
        pl.col("role").cast(_CODE, strict=False).to_physical().fill_null(SPAN).cast(pl.UInt8),
        (pl.col("signal") == "logs").fill_null(False).alias("logs"),
        (pl.col("signal") == "traces").fill_null(False).alias("traces"),
        pl.col("said").fill_null(False),
        (pl.col("outcome") == "error").fill_null(False).alias("failed"),
        pl.col("cumulative").fill_null(False),
        *(pl.col(name).fill_null(0) for name in ("started", "ended", "arrived")),
        pl.col("input_tokens").fill_null(-1).alias("input"),
        pl.col("output_tokens").fill_null(-1).alias("output"),
    )
    given = {name: said[name].to_numpy() for name in said.columns}
    trace, own, logs = given["trace_id"], given["span_id"], given["logs"]
    span = np.where((trace != 0) & (own != 0) & given["traces"], mixed(trace, own), np.uint64(0))
    above = np.where(logs, own, given["parent_span_id"])
    parent = np.where((trace != 0) & (above != 0), mixed(trace, above), np.uint64(0))
    keys = {
        "entry": given["entry_id"], "trace": trace, "span": span, "parent": parent, "response": given["response_id"],
        "request": given["request_id"], "emitter": given["emitter"],
        "voice": mixed(given["signal"], given["scope_name"], np.where(logs, given["name"], np.uint64(0))),
    }  # fmt: skip
    return keys | {name: given[name] for name in NARROW if name not in keys}


def distinct(keys: Keys) -> Keys:
    """These keys in order, each once; NumPy's own way goes through a hash table, which takes 50 times as long."""
    ordered = np.sort(keys)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def among(keys: Keys, wanted: Keys) -> Flags:
    """Which of these keys are wanted."""
    if not len(wanted):
        return np.zeros(len(keys), dtype=bool)
    ordered = np.sort(wanted)
    found: Flags = ordered[np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)] == keys
    return found


def repeated(keys: Keys) -> Flags:
    """Which of these keys occur more than once; 0, which is none, never does."""
    order = np.argsort(keys)
    ordered = keys[order]
    equal = (ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)
    found = np.zeros(len(keys), dtype=bool)
    found[order[1:][equal]] = True
    found[order[:-1][equal]] = True
    return found


class Evidence:
    """Records together. `narrow` are their arrays; the columns of `frame`, in which what nobody says is left out, are for
    the few that are asked for more."""

    def __init__(
        self, frame: pl.DataFrame, schema: Mapping[str, Any], narrow: Mapping[str, npt.NDArray[Any]], at: Rows | None = None
    ) -> None:
        """`at` are the rows of the frame, if they are not all."""
        self.narrow = dict(narrow)
        self._frame, self._schema, self._at = frame, schema, at

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
        return self.take(np.arange(self.height), [name]).to_series()

    def take(self, at: Rows, names: Sequence[str] | None = None) -> pl.DataFrame:
        """The records at these places in this order; all columns or those of these names."""
        wanted = self._schema if names is None else {name: self._schema[name] for name in names}
        return gathered(self._frame, at if self._at is None else self._at[at], wanted)

    def part(self, at: Rows) -> "Evidence":
        """The records at these places alone."""
        narrow = {name: array[at] for name, array in self.narrow.items()}
        return Evidence(self._frame, self._schema, narrow, at if self._at is None else self._at[at])

    def beside(self, frame: pl.DataFrame) -> "Evidence":
        """These records and some more."""
        more = narrowed(frame)
        both = pl.concat([self.take(np.arange(self.height)), frame], rechunk=True)
        return Evidence(both, self._schema, {name: np.concatenate([array, more[name]]) for name, array in self.narrow.items()})

    def changed(self, at: Rows, told: pl.DataFrame) -> "Evidence":
        """The same records, of which those at these places have these roles and measures instead."""
        instead = np.arange(self.height)
        instead[at] = self.height + np.arange(len(at))
        place, every = pl.Series(instead), np.arange(self.height)
        told = told.cast({name: self._schema[name] for name in told.columns})
        frame = gathered(self._frame, every if self._at is None else self._at, self._frame.schema)
        frame = frame.with_columns(
            pl.concat([self[name], told[name]], rechunk=True).gather(place).alias(name) for name in told.columns
        )
        other = Evidence(frame, self._schema, self.narrow)
        fresh = {
            "role": told["role"].cast(_CODE).to_physical().cast(pl.UInt8),
            "input": told["input_tokens"].fill_null(-1),
            "output": told["output_tokens"].fill_null(-1),
        }
        for name, column in fresh.items():
            other.narrow[name] = self.narrow[name].copy()
            other.narrow[name][at] = column.to_numpy()
        return other
