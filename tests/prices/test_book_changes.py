"""What a new state of a book takes away, brings or moves: all of it is shown, and what looks like a mistake waits."""

import json
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.collector.pricing.books import NotAccepted
from spanledger.collector.pricing.shown import shown_difference
from spanledger.prices import Prices
from spanledger.prices.books.difference import difference
from spanledger.prices.books.file import book_of
from spanledger.prices.books.found import Found
from spanledger.prices.books.snapshot import Snapshot
from spanledger.prices.layers import Layers, Name
from spanledger.prices.rule_form import rule_of
from tests.prices.desks import desk_at

AT = datetime(2026, 11, 18, 14, 30, tzinfo=UTC)


def models(**priced: Any) -> bytes:
    """A file of genai-prices with these models, each known by an older name too."""
    listed = [{"id": name, "match": {"or": [{"equals": name}, {"equals": f"{name}-old"}]}, "prices": prices}
              for name, prices in priced.items()]  # fmt: skip
    return json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "x", "models": listed}]).encode()


A, B = {"input_mtok": 1, "output_mtok": 2}, {"input_mtok": 3}
GONE = "models with a price that would have none: 1"
FREE = "new models that would cost nothing: 1"
FAR, FAR_2 = (f"rates that move more than tenfold or to or from zero: {many}" for many in (1, 2))

#: the book in use, the next one, and why it waits
CHANGES = [
    ("a new model", models(a=A), models(a=A, b=B), ""),
    ("a new model at zero", models(a=A), models(a=A, b={"input_mtok": 0}), FREE),
    ("a new model whose name says that it is free", models(a=A), models(a=A, **{"b:free": {}}), ""),
    ("a new model without a price", models(a=A), models(a=A, b={}), ""),
    ("a model that has vanished", models(a=A, b=B), models(a=A), GONE),
    ("a model without a price that has vanished", models(a=A, b={}), models(a=A), ""),
    ("a model that has another name now", models(**{"a-old": A}), models(a=A), ""),
    ("one that has another name and price now", models(**{"a-old": A}), models(a={"input_mtok": 99}), FAR_2),
    ("a rate that has vanished", models(a=A), models(a={"input_mtok": 1}), FAR),
    ("a rate that has come", models(a={"input_mtok": 1}), models(a=A), ""),
    ("a rate that has come at zero", models(a={"input_mtok": 1}), models(a={"input_mtok": 1, "output_mtok": 0}), FAR),
    ("a price that has vanished", models(a=A, b=B), models(a=A, b={}), FAR),
    ("a part without a rate any more has its whole's", models(a={**A, "cache_read_mtok": 0.1}), models(a=A), ""),
    ("which may be far", models(a={**A, "cache_read_mtok": 0.05}), models(a=A), FAR),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "waits"), [change[1:] for change in CHANGES], ids=[change[0] for change in CHANGES])
def test_what_comes_and_goes_waits_where_it_goes_to_or_from_nothing(old: bytes, new: bytes, waits: str) -> None:
    found = difference(book_of(old), book_of(new), AT)
    assert found.suspicious == waits
    shown = shown_difference(found)
    assert (shown["waits"], len(shown["added"])) == (found.suspicious, len(found.added))


def test_a_first_book_of_its_kind_takes_nothing_away_and_waits_for_nobody() -> None:
    assert difference(None, book_of(models(a=A, b={"input_mtok": 0})), AT).suspicious == ""


def test_a_model_that_vanishes_keeps_its_price_until_somebody_accepts_the_book(tmp_path: Path) -> None:
    with desk_at(tmp_path) as at:
        at.desk.load_book(models(a=A, b=B), "one", accept=True, who="me")
        with pytest.raises(NotAccepted, match=GONE) as caught:
            at.desk.load_book(models(a=A), "two", accept=False, who="me")
        assert caught.value.difference.vanished == (("openai", "b"),)
        assert at.desk.prices.cost_of("openai", "b", AT, 1_000_000, 0).cost_usd == Decimal(3)
        at.desk.load_book(models(a=A), "two", accept=True, who="me")
        assert at.desk.prices.cost_of("openai", "b", AT, 1_000_000, 0).cost_usd is None


def test_a_changed_book_looks_anew_only_at_the_names_of_which_it_says_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    tenth = [rule_of({"scope": f"tenant:t{n}", "multiplier": "0.1"}, f"r{n}") for n in range(50)]
    rules = [*tenth, rule_of({"model": "deployed", "same_as": "openai/b"}, "same")]
    old, new = (book_of(models(a=A, b=prices)) for prices in (B, {"input_mtok": 4}))
    before = Layers([old], rules)
    names = [Name(provider="openai", model=model, belongs=(("tenant", f"t{n}"),)) for n in range(50) for model in ("a", "b")]
    names += [Name(provider="vllm", model="deployed"), Name(provider="vllm", model="nobody-knows")]
    said = [before.priced(name) for name in names]
    after = Layers([new], rules, before)
    looked_up, asked = Layers._priced, list[str | None]()

    def noted(self: Layers, provider: str, model: str, name: Name) -> object:
        asked.append(name.model)
        return looked_up(self, provider, model, name)

    monkeypatch.setattr(Layers, "_priced", noted)
    again = [after.priced(name) for name in names]
    assert asked == ["b"] * 50 + ["deployed"]
    assert all(now is was for name, was, now in zip(names, said, again, strict=True) if name.model in ("a", "nobody-knows"))
    assert again == [Layers([new], rules).priced(name) for name in names]


class Held(Snapshot):
    """A book that says nothing until it may."""

    asked, may = threading.Event(), threading.Event()

    def find(self, provider: str, model: str) -> Found | None:
        self.asked.set()
        assert self.may.wait(60)
        return super().find(provider, model)


def test_batches_go_on_at_the_old_prices_while_a_book_is_compiled() -> None:
    prices = Prices(
        [book_of(models(a=A))], [rule_of({"scope": f"tenant:t{n}", "multiplier": "0.1"}, f"r{n}") for n in range(200)]
    )
    batch = pl.DataFrame({"provider": "openai", "model": "a", "occurred_at": [AT], "input_tokens": 1_000_000})
    before = prices.price(batch)
    after = book_of(models(a=B))
    assert isinstance(after, Snapshot)
    held = Held(after.providers, "next")
    worker = threading.Thread(target=prices.use, kwargs={"books": [held]})
    worker.start()
    try:
        assert held.asked.wait(60)
        assert all(prices.price(batch).equals(before) for _ in range(3))
        strange = batch.with_columns(model=pl.lit("strange"), tenant=pl.lit("t7"))
        assert prices.price(strange)["unpriced_reason"].to_list() == ["unknown model"]
    finally:
        held.may.set()
        worker.join(60)
    assert prices.price(batch)["cost_usd"].to_list() == [Decimal(3)]


def test_of_two_changes_at_once_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk_at(tmp_path) as at:
        read, second_is_made = at.desk.rules.rules, threading.Event()

        def slowly() -> object:
            found = read()
            if threading.current_thread() is first:
                second_is_made.wait(1)  # which it is only if the two do not wait for each other
            return found

        def make(model: str) -> None:
            at.desk.make([{"model": model, "rates": {"input_mtok": "7"}}], who="me")

        monkeypatch.setattr(at.desk.rules, "rules", slowly)
        first = threading.Thread(target=make, args=["one"])
        first.start()
        while not at.desk.rules.in_force():
            first.join(0.01)
        make("two")
        second_is_made.set()
        first.join(60)
        costs = [at.desk.prices.cost_of("x", model, AT, 1_000_000, 0).cost_usd for model in ("one", "two")]
        assert costs == [Decimal(7)] * 2
