"""The prices of a collector: opened from what is stored, and changed while it runs."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from spanledger.collector.dated import Dated
from spanledger.collector.pricing.books import PriceBooks
from spanledger.collector.pricing.intents import Intents
from spanledger.collector.pricing.monthly import due
from spanledger.collector.pricing.rerate import Range, Rerating, rerate
from spanledger.collector.pricing.rules import PriceRules, Row
from spanledger.control import Control
from spanledger.ledger.frame import conform
from spanledger.prices import Prices
from spanledger.prices.books.difference import Difference
from spanledger.prices.books.file import book_of
from spanledger.prices.books.snapshot import installed
from spanledger.prices.rule_form import RuleError
from spanledger.prices.settings import Settings


def open_prices(control: Control, data: Path, settings: Settings | None = None) -> Prices:
    """The prices that the control database and the data folder hold; raises `NotABook` when a stored book is damaged."""
    books = PriceBooks(control, data)
    books.meet_installed()
    return Prices(books.in_use(), PriceRules(control).rules(), settings)


class PriceDesk:
    """Where prices are looked up and changed. Every change is in force, for the next batch, when the method returns."""

    def __init__(
        self, control: Control, data: Path, prices: Prices, *,
        read: Callable[[], duckdb.DuckDBPyConnection], post: Callable[[pa.Table], object],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        """`read` connects to the ledger; `post` posts entries and brings the counters up to date with them."""
        self.control = control
        self.rules = PriceRules(control, prices.layers.rules)
        self.books = PriceBooks(control, data)
        self._intents = Intents(control, data)
        self.prices = prices
        self.read = read
        self._post = post
        self._clock = clock
        self._using = threading.Lock()
        #: Which state of what is stored was read last; None before the first look.
        self._read_rules: object = None
        self._read_books: object = None

    def make(
        self, forms: Sequence[Mapping[str, Any]], *, who: str, why: str | None = None, supersede: str = "", again: bool = False
    ) -> list[Row]:
        """`PriceRules.make`, and use them."""
        for number, form in enumerate(forms):
            self._check_same_as(form, f"rules[{number}].same_as" if len(forms) > 1 else "same_as")
        made = self.rules.make(forms, who=who, why=why, supersede=supersede, again=again)
        self._use()
        return made

    def change(self, rule_id: str, fields: Mapping[str, Any], *, who: str, why: str | None = None) -> Row:
        """`PriceRules.change`, and use it."""
        self._check_same_as(fields, "same_as")
        row = self.rules.change(rule_id, fields, who=who, why=why)
        self._use()
        return row

    def _check_same_as(self, form: Mapping[str, Any], field: str) -> None:
        """Refuse to price a model as one that nobody has a price of."""
        provider, slash, model = str(form.get("same_as") or "").partition("/")
        if slash and model and not self.prices.layers.knows(provider, model):
            raise RuleError(field, f"no price book knows {provider}/{model}; give the model rates of its own instead")

    def compare_book(self, content: bytes | None, version: str = "") -> Difference:
        """How the book in a file, or the installed one, differs from the one of its kind in use. Raises `NotABook`."""
        new = installed() if content is None else book_of(content, version)
        return self.books.compare(new, self.prices.layers.books)

    def load_book(self, content: bytes | None, version: str = "", *, accept: bool, who: str, note: str = "") -> Difference:
        """Use the book in a file, or the installed one. Raises `NotABook`, `NotAccepted`."""
        old = self.prices.layers.books
        if content is None:
            found = self.books.load_installed(old, accept=accept, who=who, note=note)
        else:
            found = self.books.load(content, version, old, accept=accept, who=who, note=note)
        self._use(reread=True)
        return found

    def drop_book(self, name: str, *, who: str, note: str = "") -> None:
        """`PriceBooks.drop`, and use what is left."""
        self.books.drop(name, who=who, note=note)
        self._use(reread=True)

    def rerate(self, over: Range, *, who: str, note: str = "", post: bool = False) -> Rerating:
        """What pricing a range anew changes; with `post` it is done: adjustments in one commit, counters, audit."""
        reason = f"re-rated by {who}" + (f": {note}" if note else "")
        return self._rerate(over, who=who, note=note, reason=reason, post=post, reversed_only=False)

    def take_back(self) -> Rerating:
        """Post the negative of what adjustments left behind of calls that turned out to be none, whenever they were made."""
        note = "adjustments are taken back"
        return self._rerate(_EVER, who="spanledger", note=note, reason=note, post=True, reversed_only=True)

    def _rerate(self, over: Range, *, who: str, note: str, reason: str, post: bool, reversed_only: bool) -> Rerating:
        # Two at a time would both find the same difference and post it twice.
        with _ONE_AT_A_TIME, self.control.alone():
            now = self._clock()
            with self.read() as connection:
                if post:
                    self._intents.settle(connection)
                found = rerate(connection, self.prices, over, now=now, reason=reason, post=post, reversed_only=reversed_only)
            if post and found.changed:
                dated = Dated.of(found.adjustments, self._clock())
                row = asdict(over) | {
                    "at": dated.at, "who": who, "note": note, "calls": found.calls, "changed": found.changed,
                    "old_usd": found.old_usd, "new_usd": found.new_usd, "revision": found.revision,
                }  # fmt: skip
                with self._intents.posting(row, who=who, why=note or None):
                    self._post(dated.entries)
                dated.wait(self._clock)
            return found

    def post_monthly(self) -> int:
        """Post what is due of fixed monthly costs up to today, and what a changed rule makes of the days before; gives
        the number of entries. Doing it again posts nothing."""
        with _ONE_AT_A_TIME, self.control.alone():
            with self.read() as connection:
                free = self.prices.settings.profile == "development"
                entries = due(connection, self.rules, now=self._clock(), revision=self.prices.revision, free=free)
            if entries.height:
                dated = Dated.of(conform(entries), self._clock())
                self._post(dated.entries)
                dated.wait(self._clock)
            return entries.height

    def follow(self) -> bool:
        """Use what another collector that shares the control database has changed; whether there was anything new to read."""
        rules, books = self._stored()
        if (rules, books) == (self._read_rules, self._read_books):
            return False
        self._use(reread=books != self._read_books)
        return True

    def _use(self, *, reread: bool = False) -> None:
        # Of two changes at once the one that read first must not be the last to use what it read: it lacks the other.
        with self._using:
            rules, books = self._stored()
            self.prices.use(books=self.books.in_use() if reread else None, rules=self.rules.rules())
            self._read_rules = rules
            if reread:
                self._read_books = books

    def _stored(self) -> tuple[object, object]:
        """What tells one state of the stored rules and books from another."""
        with self.control.read() as connection:
            return self.rules.state(connection), self.books.state(connection)


_ONE_AT_A_TIME = threading.Lock()
_EVER = Range(since=datetime(2000, 1, 1, tzinfo=UTC), until=datetime(2200, 1, 1, tzinfo=UTC))
