"""Which dialect wrote each record."""

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.decode import Telemetry
from spanledger.collector.dialects import DIALECTS, dialect_of_scope, dialect_of_span, marker_dialects, telling_spans
from spanledger.collector.shapes import Shapes

Ints = npt.NDArray[np.int64]

_TELLING = list(telling_spans())
_SCOPELESS = np.array([not dialect.scopes for dialect in DIALECTS] + [False])
_LAST = len(DIALECTS) - 1


def dialects_of(telemetry: Telemetry, shapes: Shapes) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Index into DIALECTS for each record, and whether it was proved at all; by scope first, then by marker."""
    of_scopes = [dialect_of_scope(*scope) for scope in telemetry.scopes]
    by_scope = np.array([-1 if of_scope is None else of_scope for of_scope in of_scopes] or [-1], dtype=np.int64)
    found = _told_by_name(telemetry, by_scope[telemetry.records["scope"].to_numpy()])
    markers = marker_dialects()
    of_key = np.array([markers.get(key, _LAST + 1) for key in telemetry.keys] or [_LAST + 1])
    shape, place = shapes.places()
    marks = np.full(len(shapes.first), _LAST + 1, dtype=np.int64)
    np.minimum.at(marks, shape, of_key[telemetry.attributes.key[place]])
    marked = marks[shapes.of_row]
    # A marker without a scope of its own tells versions of one scope apart.
    wins = (marked <= _LAST) & ((found < 0) | (_SCOPELESS[marked] & (marked < _LAST)))
    chosen = np.where(wins, marked, found)
    proved = chosen >= 0
    return np.where(proved, chosen, _LAST), proved


def _told_by_name(telemetry: Telemetry, found: Ints) -> Ints:
    """The dialects with those that only a span's name tells from others of its scope."""
    telling = telemetry.records["name"].is_in(_TELLING) & (telemetry.records["signal"] == "traces")
    rows = telling.fill_null(False).arg_true()
    if not rows.len():
        return found
    named = telemetry.records.select("scope", "name")[rows]
    distinct = named.unique()
    told = [dialect_of_span(*telemetry.scopes[scope], name) for scope, name in distinct.iter_rows()]
    table = distinct.with_columns(pl.Series("told", told, dtype=pl.Int64))
    tells = named.join(table, on=["scope", "name"], how="left", maintain_order="left")["told"].fill_null(-1).to_numpy()
    found, at = found.copy(), rows.to_numpy()
    found[at] = np.where(tells >= 0, tells, found[at])
    return found
