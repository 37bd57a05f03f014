"""Which entries a question is about: a range of time and wanted values of dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb

from spanledger.analytics.query import Source
from spanledger.ledger.rollup import DIMENSIONS_OF
from spanledger.ledger.schema import DIMENSIONS

TAG = "tag."

_FILTERS = duckdb.map_type("VARCHAR", duckdb.list_type("VARCHAR"))


def check_dimension(name: str) -> str:
    """The name, if spend can be grouped by it: a dimension of the schema or `tag.<key>`. Raises `ValueError`."""
    if name in DIMENSIONS or (name.startswith(TAG) and len(name) > len(TAG)):
        return name
    raise ValueError(f"{name!r} is no dimension: use one of {', '.join(DIMENSIONS)}, or {TAG}<key> for a tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Entries that occurred in [since, until) and whose dimensions have one of the wanted values.

    Both ends are aware. `filters` maps a dimension to its wanted values; "" wants calls where it is not given. Raises
    `ValueError` for a naive end, an end before the beginning or an unknown dimension.
    """

    since: datetime
    until: datetime
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, end in (("since", self.since), ("until", self.until)):
            if end.tzinfo is None:
                raise ValueError(f"{name} needs a time zone: {end.isoformat()}")
        if self.until < self.since:
            raise ValueError(f"until ({self.until.isoformat()}) is before since ({self.since.isoformat()})")
        for name, wanted in self.filters.items():
            check_dimension(name)
            if isinstance(wanted, str):
                raise ValueError(f"the filter on {name} needs a tuple of values, not one text")

    @property
    def bound(self) -> dict[str, Any]:
        """The values that every query binds."""
        wanted = {name: list(values) for name, values in self.filters.items()}
        filters = duckdb.Value({"key": list(wanted), "value": list(wanted.values())}, _FILTERS)
        return {"since": self.since, "until": self.until, "filters": filters}

    def source(self, dimension: str | None = None) -> Source:
        """Where sums over this selection, by a dimension, are had from: the smallest that knows all that they ask for."""
        asked = {*self.filters, *(() if dimension is None else (dimension,))}
        if asked <= set(DIMENSIONS_OF["coarse"]):
            return "summed_coarse"
        return "summed" if asked <= set(DIMENSIONS_OF["fine"]) else "selected"
