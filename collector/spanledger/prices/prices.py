"""Entries without money in, entries with money out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from spanledger.prices.amounts import Amounts
from spanledger.prices.books.book import Book
from spanledger.prices.books.site import site_rules
from spanledger.prices.books.snapshot import installed
from spanledger.prices.claims import MONEY, claims_of
from spanledger.prices.keys import Keys
from spanledger.prices.layers import Layers, Name, Priced
from spanledger.prices.meters import METERS
from spanledger.prices.most import Most
from spanledger.prices.placed import cells_of
from spanledger.prices.quote import Call, Quote, quoted
from spanledger.prices.revision import revision_of
from spanledger.prices.rows import asked, named
from spanledger.prices.rule import Belongs, Rule
from spanledger.prices.settings import Settings
from spanledger.prices.stated import Charged, stated
from spanledger.prices.tables import Wholes
from spanledger.prices.tiers import tier_of
from spanledger.prices.usage import usage

#: What pricing reads of an entry, besides the money columns that are filled already.
_READ = frozenset(
    {
        "kind", "provider", "model", "requested_model", "variant", "service_tier", "region", "batch", "outcome", "cut_short",
        "occurred_at",
        "calls", "tenant", "project", "api_key_id", "tags", "reported_cost_usd", "flags", "other_meters",
        *[meter.counter for meter in METERS if meter.column],
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """All that changes together when books or rules change."""

    layers: Layers
    revision: str
    keys: Keys
    most: Most


class Prices:
    """The prices in force. Safe to use from several threads; `use` changes them between two batches."""

    def __init__(
        self, books: Sequence[Book] | None = None, rules: Sequence[Rule] = (), settings: Settings | None = None, *,
        site: bool = True,
    ) -> None:  # fmt: skip
        self.settings = settings or Settings()
        #: The corrections that ship with Spanledger, below the given rules.
        self._site = tuple(site_rules()) if site else ()
        self._state = _compiled(tuple(books) if books is not None else (installed(),), (*self._site, *rules))

    @property
    def revision(self) -> str:
        """Version and SHA-256 of the book, and a hash of the rules when there are any."""
        return self._state.revision

    @property
    def layers(self) -> Layers:
        """The books and rules in force."""
        return self._state.layers

    def use(self, *, books: Sequence[Book] | None = None, rules: Sequence[Rule] | None = None) -> str:
        """Price by other books or rules from the next batch on, and give the new revision.

        The names in use are resolved before the change, so that no batch waits for it.
        """
        old = self._state
        new_books = old.layers.books if books is None else tuple(books)
        new_rules = old.layers.rules if rules is None else (*self._site, *rules)
        state = _compiled(new_books, new_rules, old)
        met = old.keys.met()
        if met is not None:
            state.keys.of(asked(met, state.layers).unique())
        self._state = state
        return state.revision

    def price(self, entries: pl.DataFrame) -> pl.DataFrame:
        """`entries` with the money columns of `ledger/schema.py`.

        Entries that come with a `cost_state` (reversals, adjustments) keep it and their amounts; a duplicate costs
        nothing. Columns that are missing are taken as not known.
        """
        return self._priced(entries, self._state, self._state.keys)[0]

    def cost_of(
        self, provider: str | None, model: str | None, at: datetime, input_tokens: int = 0, output_tokens: int = 0, *,
        service_tier: str | None = None, batch: bool | None = None, region: str | None = None, variant: str | None = None,
        belongs: Sequence[Belongs] = (), **counters: float,
    ) -> Quote:  # fmt: skip
        """`quote`, in arguments."""
        given = {"input_tokens": input_tokens, "output_tokens": output_tokens, **counters}
        call = Call(
            at=at, counters=given, service_tier=service_tier, batch=batch, region=region, variant=variant, belongs=belongs
        )
        return self.quote(provider, model, call)

    def quote(self, provider: str | None, model: str | None, call: Call) -> Quote:
        """What one call costs: state, parts and reason are those that it gets when it is posted."""
        return self.quotes([(provider, model)], call)[0]

    def quotes(self, models: Sequence[tuple[str | None, str | None]], call: Call) -> list[Quote]:
        """`quote` for several models at once."""
        state = self._state
        # Keys of their own: whatever is asked about takes no room among the names that are in use.
        priced, rules = self._priced(call.on(models), state, Keys(state.layers, named))
        return quoted(priced, rules)

    def cells(
        self, provider: str | None, model: str | None, *, service_tier: str | None = None, region: str | None = None,
        belongs: Sequence[Belongs] = (), listed: bool = False,
    ) -> Priced:  # fmt: skip
        """All that is in force for a name, at list price if wanted: for showing it."""
        name = self._name(provider, model, tier_of(service_tier), region, belongs)
        return self._state.layers.priced(replace(name, listed=listed, belongs=() if listed else name.belongs))

    def most(
        self, *, provider: str | None, model: str | None, at: int, input_tokens: int, output_tokens: int,
        operation: str | None = None, service_tier: str | None = None, belongs: Callable[[], Sequence[Belongs]] = tuple,
    ) -> int | str:  # fmt: skip
        """The most that a call of this size can cost at a moment, in whole pico-dollars, or why nobody knows; `at` in
        microseconds since 1970; embeddings have no output. Whom the call is for is asked only where some rule depends on it."""
        state = self._state
        wanted = state.layers.belongings
        whom = tuple(one for one in belongs() if one in wanted) if wanted else ()
        return state.most.most(
            lambda: Name(provider=provider, model=model, tier=tier_of(service_tier), belongs=whom),
            (provider, model, service_tier, whom),
            at,
            input_tokens,
            0 if operation == "embeddings" else output_tokens,
        )

    def max_output_tokens(self, provider: str | None, model: str | None) -> int | None:
        """Most output tokens of a model; None when no book says."""
        return self._asked("max_output_tokens", provider, model)

    def context_window(self, provider: str | None, model: str | None) -> int | None:
        """Most input tokens of a model; None when no book says."""
        return self._asked("context_window", provider, model)

    def _priced(self, entries: pl.DataFrame, state: _State, by: Keys) -> tuple[pl.DataFrame, Iterator[tuple[str, ...]]]:
        rows = entries.select([column for column in entries.columns if column in _READ])
        keys, listed_keys, tables = by.of(asked(rows, state.layers))
        used = usage(rows)
        moments, size = _moments(rows), _size_of_each(used.size, rows).to_numpy()
        claims = claims_of(rows, self.settings)
        cells = cells_of(keys, moments, size, tables)
        if claims is not None:
            cells = claims.over_defaults(cells, tables)
        amounts = listed = Amounts(used, tables, cells)
        listed_cells = cells
        if (listed_keys != keys).any():
            listed_cells = cells_of(listed_keys, moments, size, tables)
            if claims is not None:
                listed_cells = claims.over_defaults(listed_cells, tables)
            listed = Amounts(used, tables, listed_cells)
        charged = Charged(used, tables, cells, amounts, listed, listed_cells)
        priced = stated(rows, charged, state.revision, self.settings, claims)
        if "cost_state" in entries.columns and entries["cost_state"].null_count() < entries.height:
            priced = _kept(entries, priced)
        if "reported_cost_usd" not in entries.columns:
            priced = priced.with_columns(reported_cost_usd=pl.lit(None, MONEY))
        return entries.with_columns(priced), (tables.rules[cell] for cell in cells.tolist())

    def _asked(self, what: str, provider: str | None, model: str | None) -> int | None:
        found = self._state.most.priced(Name(provider=provider, model=model)).found
        answers = (getattr(book, what)(found.provider, found.model) for book in self.layers.books) if found else ()
        return next((answer for answer in answers if answer is not None), None)

    def _name(self, provider: str | None, model: str | None, tier: str, region: str | None, belongs: Sequence[Belongs]) -> Name:
        layers = self._state.layers
        return Name(
            provider=provider, model=model, tier=tier,
            region=layers.region(region),
            belongs=tuple(one for one in belongs if one in layers.belongings),
        )  # fmt: skip


def _compiled(books: tuple[Book, ...], rules: Sequence[Rule], before: _State | None = None) -> _State:
    layers = Layers(books, rules, before.layers if before else None)
    revision = revision_of(layers)
    keys = Keys(layers, named, before.keys if before else None)
    return _State(layers=layers, revision=revision, keys=keys, most=Most(layers))


def _moments(rows: pl.DataFrame) -> Wholes:
    return rows["occurred_at"].cast(pl.Datetime("us", "UTC")).dt.epoch("us").to_numpy()


def _size_of_each(size: pl.Series, rows: pl.DataFrame) -> pl.Series:
    """Input tokens of one call, where an entry stands for several."""
    if "calls" not in rows.columns or not (rows["calls"] > 1).any():
        return size
    return size // rows["calls"].fill_null(1).abs().clip(1)


def _kept(entries: pl.DataFrame, priced: pl.DataFrame) -> pl.DataFrame:
    """The columns of `priced`, but those of entries that were priced already as they came."""
    mine = entries["cost_state"].is_null().alias("mine")
    came = [entries[name].cast(priced[name].dtype).alias(f"came {name}") for name in priced.columns if name in entries.columns]
    both = pl.DataFrame([mine, *came, *priced])
    return both.select(
        pl.when("mine").then(name).otherwise(f"came {name}" if name in entries.columns else pl.lit(None)).alias(name)
        for name in priced.columns
    )
