"""What was assumed about how an emitter counts cached input, and how an operator settles it."""

from dataclasses import dataclass
from typing import Literal

import duckdb

#: `inside`: the input number holds cached tokens; `outside`: they are given beside it and have to be added.
Where = Literal["inside", "outside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedInput:
    """One settled fact: how a scope counts cached input for a provider; an empty provider is every one of them."""

    scope: str
    provider: str = ""
    where: Where

    def __post_init__(self) -> None:
        """Raises `ValueError` naming what is wrong."""
        if not self.scope:
            raise ValueError("cached_input needs the scope whose numbers it settles")
        if self.where not in ("inside", "outside"):
            raise ValueError(f"cached_input of {self.scope}: where is inside or outside, not {self.where!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """Calls whose cached input was taken to be inside the input because nobody has seen this emitter with this provider."""

    scope: str
    version: str
    provider: str
    calls: int

    @property
    def line(self) -> str:
        """The line of the configuration, under processors.recognise.cached_input, that settles it."""
        return f"- {{scope: {self.scope!r}, provider: {self.provider!r}, where: inside}}  # or outside"


def assumed(connection: duckdb.DuckDBPyConnection) -> list[Assumed]:
    """All of them in the ledger of a connection from `spanledger.ledger.connect`, the most frequent first."""
    rows = connection.sql("""
        select coalesce(scope_name, ''), coalesce(scope_version, ''), coalesce(provider, ''), sum(calls)::bigint as calls
        from entries
        where list_contains(flags, 'semantics_assumed') and kind in ('call', 'reversal')
        group by all having sum(calls) > 0 order by calls desc, 1, 2, 3
    """).fetchall()
    return [Assumed(scope=scope, version=version, provider=provider, calls=calls) for scope, version, provider, calls in rows]
