"""Files that are no book, or hold a price that is none: refused, with the place in the file and what was expected there."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.prices.books.file import NotABook, book_of
from spanledger.prices.books.found import Found
from tests.prices.desks import desk_at


def of_genai(prices: Any) -> bytes:
    model = {"id": "m", "match": {"equals": "m"}, "prices": prices}
    return json.dumps([{"id": "x", "name": "X", "api_pattern": "x", "models": [model]}]).encode()


def of_litellm(**entry: Any) -> bytes:
    return json.dumps({"m": {"litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-6, **entry}}).encode()


def of_models_dev(**cost: Any) -> bytes:
    return json.dumps({"x": {"models": {"m": {"cost": {"output": 2, **cost}}}}}).encode()


EXPECTED = "expected the file of one of three price lists"

NO_BOOKS = [
    (b"", "the file is not JSON"),
    (b"\x00\x01", "the file is not JSON"),
    (b"{", EXPECTED),
    (b"[" * 100_000, "the file is not JSON"),
    (b"3", "the file is a number: expected"),
    (b"null", "the file is empty: expected"),
    (b"{}", "the file has no prices: expected"),
    (b'{"a": {"b": 1}}', "no prices; its first field, 'a', is neither a model with a price nor a provider: expected"),
    (b'{"name": "my-app", "dependencies": {"left-pad": "1"}}', "its first field, 'name'"),
    (b"[]", "the file lists no models: expected"),
    (b"[1]", EXPECTED),
    (b'[{"id": "x"}]', "not one of genai-prices"),
    (b'[{"model": "gpt-4o", "multiplier": "0.9"}]', "not one of genai-prices: 0.id"),
    (b'[{"id": "x", "name": "X", "api_pattern": "x", "models": [{"id": "m", "match": {"o": 1}, "prices": {}}]}]', EXPECTED),
    (b"\x1f\x8bnot gzip", "the file is not whole"),
    (of_genai({"input_mtok": "-2.5"}), "[0].models[0].prices.input_mtok is '-2.5': a price below zero"),
    (of_genai({"input_mtoks": 2.5}), "[0].models[0].prices.input_mtoks is not a known unit (did you mean input_mtok?)"),
    (of_litellm(litellm_provider=None), "m.litellm_provider is None: a price needs the provider"),
    (of_litellm(litellm_provider=5), "m.litellm_provider is 5"),
    (of_litellm(input_cost_per_token="0.5"), "m.input_cost_per_token is '0.5': a price is a number"),
    (of_litellm(off_peak_pricing={"windows": [{"hours_utc": "late"}]}), "m.off_peak_pricing.windows[0].hours_utc is 'late'"),
    (of_litellm(off_peak_pricing={"windows": [{"hours_utc": "18:00-08:00"}]}), "over midnight, two of them"),
    (of_litellm(off_peak_pricing={"windows": True}), "m.off_peak_pricing.windows is True: expected a list"),
    (of_litellm(off_peak_pricing={"windows": [{"weekdays": [1, 1]}]}), "m.off_peak_pricing.windows[0].weekdays is [1, 1]"),
    (of_models_dev(tiers=[{"tier": {"type": "context", "size": 10**30}}]), "reads like models.dev's up to where a box must hold"),
    (of_models_dev(tiers=[1]), "x.models.m.cost.tiers[0] is 1"),
    (of_litellm(off_peak_pricing={"windows": [{"weekdays": [0]}]}), "m.off_peak_pricing.windows[0].weekdays is [0]: expected"),
    (of_litellm(tiered_pricing=[{"range": [9, 1]}]), "m.tiered_pricing[0].range is [9, 1]: expected two numbers of tokens"),
    (of_litellm(tiered_pricing=[{"range": 5}]), "m.tiered_pricing[0].range is 5"),
    (b'{"x": {"models": {"m": {"cost": [1, 2]}}}}', "x.models.m.cost is [1, 2]: expected an object"),
    (b'{"x": {"models": {"m": [1]}}}', "x.models.m is no model"),
    (b'{"x": {"models": {"m": {"cost": {"input": 1}}}}, "y": 3}', "y is no provider"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "says"), NO_BOOKS)
def test_what_is_no_book_is_refused_in_words_that_name_the_place(content: bytes, says: str) -> None:
    with pytest.raises(NotABook, match=re.escape(says)):
        book_of(content)


#: Where in each of the three formats a price can stand.
PLACES: list[tuple[str, Callable[[Any], bytes]]] = [
    ("[0].models[0].prices.input_mtok", lambda price: of_genai({"input_mtok": price})),
    ("[0].models[0].prices[0].prices.input_mtok", lambda price: of_genai([{"prices": {"input_mtok": price}}])),
    ("[0].models[0].prices.input_mtok.tiers[0].price",
     lambda price: of_genai({"input_mtok": {"base": 1, "tiers": [{"start": 9, "price": price}]}})),
    ("m.input_cost_per_token", lambda price: of_litellm(input_cost_per_token=price)),
    ("m.input_cost_per_token_above_200k_tokens", lambda price: of_litellm(input_cost_per_token_above_200k_tokens=price)),
    ("m.search_context_cost_per_query.search_context_size_low",
     lambda price: of_litellm(search_context_cost_per_query={"search_context_size_low": price})),
    ("m.off_peak_pricing.input_cost_per_token", lambda price: of_litellm(off_peak_pricing={"input_cost_per_token": price})),
    ("m.tiered_pricing[0].input_cost_per_token",
     lambda price: of_litellm(tiered_pricing=[{"range": [0, 9], "input_cost_per_token": price}])),
    ("x.models.m.cost.input", lambda price: of_models_dev(input=price)),
    ("x.models.m.cost.tiers[0].input",
     lambda price: of_models_dev(tiers=[{"input": price, "tier": {"type": "context", "size": 200_000}}])),
]  # fmt: skip


@pytest.mark.parametrize(("path", "book"), PLACES, ids=[place[0] for place in PLACES])
def test_a_price_that_is_none_is_refused_wherever_it_stands(path: str, book: Callable[[Any], bytes]) -> None:
    assert book_of(book(0.5)).listed()
    for price, says in (
        (-1, "is -1: a price below zero"),
        ("abc", "is 'abc': a price is a number"),
        (True, "is True: a price is a number"),
        (float("nan"), "is nan: a price is a number that ends"),
        (float("inf"), "is inf: a price is a number that ends"),
        (1e300, "is 1e+300: a price of more than a million US dollars"),
    ):
        with pytest.raises(NotABook, match=re.escape(f"{path} {says}")):
            book_of(book(price))


WORDS = [
    "models", "m", "cost", "input", "prices", "input_mtok", "litellm_provider", "input_cost_per_token", "id", "match", "tiers",
    "tier", "size", "limit", "off_peak_pricing", "windows", "hours_utc", "mode", "base", "start", "constraint", "name",
    "tiered_pricing", "range", "modalities", "weekdays", "type",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, "x", "1", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=14,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_whatever_json_is_given_it_is_a_book_or_refused_in_words(parsed: Any) -> None:
    try:
        book = book_of(json.dumps(parsed).encode())
    except NotABook:
        return
    for provider, model in book.listed():
        cells = book.cells(Found(provider=provider, model=model, match="exact"), "standard")
        assert all(rate >= 0 for cell in cells for rate in cell.rates.values())


def test_a_book_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    with desk_at(tmp_path) as at:
        before = at.desk.prices.revision, at.desk.books.rows()
        for content, _ in NO_BOOKS:
            with pytest.raises(NotABook):
                at.desk.load_book(content, accept=True, who="me")
        assert (at.desk.prices.revision, at.desk.books.rows()) == before
