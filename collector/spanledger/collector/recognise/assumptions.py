"""What was assumed about how an emitter counts cached input, and how an operator settles it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import duckdb

from spanledger.collector.dialects import DIALECTS
from spanledger.collector.recognise.names import family

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
    """Calls of an emitter of which nobody knows where this provider's cached input stands; `taken` is where it was looked for.

    `seen` is what other records of the same calls prove, of emitters that are known: None if there were none, or if they
    contradict each other.
    """

    scope: str
    version: str
    provider: str
    calls: int
    taken: Where
    seen: Where | None

    @property
    def line(self) -> str:
        """The line of the configuration, under processors.recognise.cached_input, that settles it."""
        where = self.seen or self.taken
        why = "as other records of its calls show" if self.seen else f"or {_OTHER[where]}"
        return f"- {{scope: {self.scope!r}, provider: {self.provider!r}, where: {where}}}  # {why}"


_OTHER: Mapping[Where, Where] = {"inside": "outside", "outside": "inside"}

#: What a record that was assumed claims, beside what the known record of its call says.
_SEEN = """
    select coalesce(d.scope_name, '') as scope, coalesce(d.scope_version, '') as version, coalesce(d.provider, '') as provider,
           count(*) filter (where c.input_tokens = d.claimed_input_tokens) as as_taken,
           count(*) filter (where abs(c.input_tokens - d.claimed_input_tokens) = c.cached) as otherwise
    from entries as d join (
        select entry_id, input_tokens, coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) as cached
        from entries where kind = 'call' and not list_contains(flags, 'semantics_assumed')
    ) as c on d.stands_for = c.entry_id
    where d.kind = 'duplicate' and list_contains(d.flags, 'semantics_assumed') and c.cached > 0
    group by all
"""


def assumed(connection: duckdb.DuckDBPyConnection) -> list[Assumed]:
    """All of them in the ledger of a connection from `spanledger.ledger.connect`, the most frequent first."""
    rows = connection.sql(f"""
        with assumed as (
            select coalesce(scope_name, '') as scope, coalesce(scope_version, '') as version, coalesce(provider, '') as provider,
                   sum(calls)::bigint as calls, max(dialect) as dialect, max(model) as model
            from entries
            where list_contains(flags, 'semantics_assumed') and kind in ('call', 'reversal')
            group by all having sum(calls) > 0
        )
        select assumed.*, coalesce(as_taken, 0), coalesce(otherwise, 0)
        from assumed left join ({_SEEN}) as seen using (scope, version, provider)
        order by calls desc, 1, 2, 3
    """).fetchall()  # noqa: S608  # both parts are written here
    return [_assumed(*row) for row in rows]


def _assumed(
    scope: str, version: str, provider: str, calls: int, dialect: str, model: str | None, as_taken: int, otherwise: int
) -> Assumed:
    row = next((each for each in DIALECTS if each.name == dialect), DIALECTS[-1])
    stands = row.cache.get(family((provider, model))) or row.cache.get("*") or "in?"
    taken: Where = "outside" if stands.startswith("apart") else "inside"
    seen = None if bool(as_taken) == bool(otherwise) else taken if as_taken else _OTHER[taken]
    return Assumed(scope=scope, version=version, provider=provider, calls=calls, taken=taken, seen=seen)
