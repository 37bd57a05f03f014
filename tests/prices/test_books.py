"""Books from files: LiteLLM's, models.dev's and snapshots of genai-prices; compared before they are used."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanledger.collector.pricing.books import NotAccepted
from spanledger.prices import Prices
from spanledger.prices.book_file import NotABook, book_of
from spanledger.prices.difference import difference
from spanledger.prices.snapshot import Snapshot
from tests.prices.desks import At, desk_at

BOOKS = Path(__file__).parent / "books"
LITELLM = (BOOKS / "litellm.json").read_bytes()
MODELS_DEV = (BOOKS / "models_dev.json").read_bytes()
AT = datetime(2026, 11, 18, 14, 30, tzinfo=UTC)  # a Wednesday


def snapshot(**prices: Any) -> bytes:
    """A file of genai-prices with one model."""
    model = {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": prices or {"input_mtok": 2.5, "output_mtok": 10}}
    return json.dumps(
        [{"id": "openai", "name": "OpenAI", "api_pattern": r"https://api\.openai\.com", "models": [model]}]
    ).encode()


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with desk_at(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("provider", "model", "counters", "tier", "cost"),
    [
        ("openai", "gpt-4o", {"input_tokens": 1000, "cache_read_tokens": 400, "output_tokens": 100}, None, "0.003"),
        ("openai", "gpt-5.4", {"input_tokens": 272_000, "output_tokens": 0}, None, "0.68"),
        ("openai", "gpt-5.4", {"input_tokens": 272_001, "output_tokens": 0}, None, "1.360005"),
        ("openai", "gpt-5.4", {"input_tokens": 1000, "output_tokens": 100}, "flex", "0.002"),
        ("openai", "gpt-5.4", {"input_tokens": 1000, "output_tokens": 100}, "batch", "0.002"),
        ("anthropic", "claude-opus-4-6", {"input_tokens": 1000, "cache_write_tokens": 600, "cache_write_1h_tokens": 200}, None,
         "0.0065"),
        ("azure", "azure/eu/gpt-4o-2024-08-06", {"input_tokens": 1_000_000, "output_tokens": 0}, None, "2.75"),
        ("gcp.gemini", "gemini-2.5-pro", {"input_tokens": 200_001, "output_tokens": 0}, None, "0.5000025"),
        ("openai", "whisper-1", {"audio_seconds": 60.0}, None, "0.006"),
        ("deepseek", "deepseek-v4-flash", {"input_tokens": 1_000_000, "output_tokens": 0}, None, "0.15"),
    ],
)  # fmt: skip
def test_litellms_file_prices_what_it_lists(
    provider: str, model: str, counters: dict[str, float], tier: str | None, cost: str
) -> None:
    prices = Prices([book_of(LITELLM)], site=False)
    assert prices.quote(provider, model, AT, counters, service_tier=tier).cost_usd == Decimal(cost)


def test_an_entry_without_any_price_is_no_gift() -> None:
    prices = Prices([book_of(LITELLM)], site=False)
    assert prices.cost_of("ollama", "llama3", AT, 1000, 100).cost_state == "unpriced"


def test_models_devs_file_prices_what_it_lists() -> None:
    prices = Prices([book_of(gzip.compress(MODELS_DEV))], site=False)
    assert prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal("2.5")
    assert prices.cost_of("gcp.gemini", "gemini-2.5-pro", AT, 200_000, 0).cost_usd == Decimal("0.25")
    assert prices.cost_of("gcp.gemini", "gemini-2.5-pro", AT, 200_001, 0).cost_usd == Decimal("0.5000025")
    assert prices.max_output_tokens("google", "gemini-2.5-pro") == 65_536


def test_the_first_book_that_knows_a_model_wins_and_the_next_fills_what_it_lacks() -> None:
    both = Prices([book_of(snapshot(input_mtok=7, output_mtok=7)), book_of(LITELLM)], site=False)
    assert both.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal(7)
    assert both.cost_of("openai", "gpt-5.4", AT, 1_000, 0).cost_usd == Decimal("0.0025")
    azure = Prices([Snapshot(), book_of(LITELLM)])
    assert azure.cost_of("azure", "azure/eu/gpt-4o-2024-08-06", AT, 1_000_000, 0).cost_usd is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"\x00\x01", "not JSON"),
        (b"{", "not JSON"),
        (b"3", "neither a list"),
        (b"{}", "no prices"),
        (b'{"a": {"b": 1}}', "no prices"),
        (b"[]", "no models"),
        (b'[{"id": "x"}]', "not one of genai-prices"),
        (b'[{"id": "x", "name": "X", "api_pattern": "x", "models": [{"id": "m", "match": {"o": 1}, "prices": {}}]}]', "not one"),
        (b"\x1f\x8bnot gzip", "not whole"),
    ],
)  # fmt: skip
def test_what_is_no_book_is_refused_in_words(content: bytes, says: str) -> None:
    with pytest.raises(NotABook, match=says):
        book_of(content)


def test_a_book_is_compared_with_the_one_of_its_kind() -> None:
    old, new = book_of(snapshot(input_mtok=2.5, output_mtok=10)), book_of(snapshot(input_mtok=2.5, output_mtok=8))
    found = difference(old, new, AT)
    assert [(m.rate_key, str(m.was), str(m.now), m.large) for m in found.moves] == [("output_mtok", "10", "8", False)]


@pytest.mark.parametrize(("price", "large"), [(2, False), (0.26, False), (0.2, True), (0, True), (30, True)])
def test_a_move_of_more_than_tenfold_or_to_zero_is_large(price: float, large: bool) -> None:
    found = difference(book_of(snapshot(input_mtok=2.5)), book_of(snapshot(input_mtok=price)), AT)
    assert [move.large for move in found.moves] == [large]


def test_a_large_move_waits_to_be_accepted_and_changes_nothing(at: At) -> None:
    at.desk.load_book(snapshot(input_mtok=2.5), "one", accept=True, who="me")
    before = at.desk.prices.revision
    with pytest.raises(NotAccepted) as caught:
        at.desk.load_book(snapshot(input_mtok=25.1), "two", accept=False, who="me")
    assert [move.rate_key for move in caught.value.difference.large] == ["input_mtok"]
    assert at.desk.prices.revision == before
    at.desk.load_book(snapshot(input_mtok=25.1), "two", accept=True, who="me")
    assert at.desk.prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal("25.1")
    assert at.desk.prices.revision.startswith("genai-prices two sha256:")


def test_a_loaded_book_is_kept_over_a_restart(at: At) -> None:
    at.desk.load_book(snapshot(input_mtok=3), "three", accept=True, who="me", note="checked")
    revision = at.desk.prices.revision
    at.control.close()
    with desk_at(at.folder) as again:
        assert again.desk.prices.revision == revision
        named = {row["version"]: row for row in again.desk.books.rows()}
        assert (named["three"]["loaded_by"], named["three"]["note"], named["three"]["in_use"]) == ("me", "checked", True)
        again.desk.drop_book("genai-prices", who="me")
        assert again.desk.prices.layers.books[0].version.startswith("0.2.")


def test_the_installed_book_leaves_a_row_so_that_its_hash_can_be_looked_up(at: At) -> None:
    book = at.desk.prices.layers.books[0]
    assert [(row["id"], row["file"]) for row in at.desk.books.rows()] == [(book.sha256, None)]


def test_a_book_from_litellm_stands_behind_the_installed_one(at: At) -> None:
    found = at.desk.load_book(LITELLM, accept=False, who="me")
    assert found.added
    assert "+ litellm sha256:" in at.desk.prices.revision
    assert at.desk.prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal("2.5")


def test_a_snapshot_that_is_read_from_its_file_says_what_it_said() -> None:
    one, again = book_of(snapshot()), book_of(snapshot())
    assert one.sha256 == again.sha256 != book_of(snapshot(input_mtok=9)).sha256
