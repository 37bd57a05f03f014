"""Which dialect wrote each record."""

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.dialects import DIALECTS, dialect_of_scope, dialect_of_span, marker_dialects, telling_spans
from spanledger.collector.recognise.shapes import Shapes, alike

Ints = npt.NDArray[np.int64]

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
    tells = np.array([bool(telling_spans(*scope)) for scope in telemetry.scopes] or [False])
    scope = telemetry.records["scope"].to_numpy()
    rows = np.flatnonzero(tells[scope] & (telemetry.records["signal"] == "traces").to_numpy())
    if not len(rows):
        return found
    names = pc.dictionary_encode(telemetry.records["name"][rows].fill_null("").to_arrow())
    spoken = names.dictionary.to_pylist()
    first, pair = alike(scope[rows] * len(spoken) + names.indices.to_numpy())
    pairs = [(telemetry.scopes[scope[rows[at]]], spoken[names.indices[at].as_py()]) for at in first.tolist()]
    told = np.array([dialect_of_span(*of, name) if name in telling_spans(*of) else -1 for of, name in pairs])[pair]
    found = found.copy()
    found[rows] = np.where(told >= 0, told, found[rows])
    return found
