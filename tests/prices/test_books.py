"""Books from files: LiteLLM's, models.dev's and snapshots of genai-prices; compared before they are used."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import types as genai

from spanledger.collector.pricing import books, desk
from spanledger.collector.pricing.books import NotAccepted
from spanledger.prices import Call, Prices
from spanledger.prices.books.difference import difference
from spanledger.prices.books.file import book_of
from spanledger.prices.books.snapshot import Snapshot, installed
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
        ("dashscope", "qwen-flash", {"input_tokens": 256_000, "output_tokens": 1_000}, None, "0.0132"),
        ("dashscope", "qwen-flash", {"input_tokens": 256_001, "output_tokens": 1_000}, None, "0.06600025"),
        ("opencode_go", "gpt-6-luna", {"input_tokens": 300_000, "output_tokens": 0}, None, "0.06"),
        ("deepseek", "deepseek-v4-flash", {"input_tokens": 1_000_000, "output_tokens": 0}, None, "0.15"),
    ],
)  # fmt: skip
def test_litellms_file_prices_what_it_lists(
    provider: str, model: str, counters: dict[str, float], tier: str | None, cost: str
) -> None:
    prices = Prices([book_of(LITELLM)], site=False)
    assert prices.quote(provider, model, Call(at=AT, counters=counters, service_tier=tier)).cost_usd == Decimal(cost)


def test_a_model_of_several_names_is_listed_once_by_the_shortest() -> None:
    file = b"""{"azure/gpt-4o": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 1e-06},
               "azure/eu/gpt-4o": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 2e-06}}"""
    book = book_of(file)
    assert book.listed() == [("azure", "gpt-4o"), ("azure", "eu/gpt-4o")]
    assert all(book.find("azure", name) for name in ("gpt-4o", "azure/gpt-4o", "eu/gpt-4o", "azure/eu/gpt-4o"))


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


def test_the_installed_book_is_kept_so_that_its_hash_can_be_looked_up_and_the_next_one_compared(at: At) -> None:
    book = at.desk.prices.layers.books[0]
    (row,) = at.desk.books.rows()
    assert (row["id"], row["in_use"], row["version"]) == (book.sha256, True, book.version)
    assert book_of((at.folder / row["file"]).read_bytes()).sha256 == book.sha256


def with_a_rate_of(usd: str) -> Snapshot:
    """What pip might bring next: the installed book, with another price for GPT-4o's input."""
    book = book_of(installed().content, "9.9")
    assert isinstance(book, Snapshot)
    model = next(m for p in book.providers if p.id == "openai" for m in p.models if m.id == "gpt-4o")
    assert isinstance(model.prices, genai.ModelPrice)
    model.prices.input_mtok = Decimal(usd)  # type: ignore[attr-defined]
    return Snapshot(book.providers, "9.9")


def started_with(folder: Path, book: Snapshot, monkeypatch: pytest.MonkeyPatch) -> AbstractContextManager[At]:
    monkeypatch.setattr(books, "installed", lambda: book)
    monkeypatch.setattr(desk, "installed", lambda: book)
    return desk_at(folder)


def test_a_newer_book_that_pip_brought_is_compared_at_the_start_and_used(
    at: At, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at.control.close()
    caplog.set_level("INFO")
    with started_with(at.folder, with_a_rate_of("2.4"), monkeypatch) as again:
        assert again.desk.prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal("2.4")
        assert again.desk.prices.revision.startswith("genai-prices 9.9 sha256:")
        newest = again.desk.books.rows()[0]
        assert (newest["version"], newest["in_use"]) == ("9.9", True)
    assert "0 models more, 0 fewer, 1 rates moved" in caplog.text


@pytest.mark.parametrize("usd", ["25.1", "0"])
def test_one_that_moves_a_rate_far_waits_to_be_accepted_over_every_start(
    at: At, usd: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = at.desk.prices.revision
    at.control.close()
    newer = with_a_rate_of(usd)
    for _ in range(2):
        with started_with(at.folder, newer, monkeypatch) as again:
            assert again.desk.prices.revision == before
            assert again.desk.prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal("2.5")
            waiting = again.desk.books.waiting()
            assert waiting is not None
            assert waiting.version == "9.9"
            assert len(again.desk.compare_book(None).large) == 1
            with pytest.raises(NotAccepted):
                again.desk.load_book(None, accept=False, who="me")
    assert "update --installed --accept" in caplog.text
    with started_with(at.folder, newer, monkeypatch) as again:
        again.desk.load_book(None, accept=True, who="me", note="checked with the provider")
        assert again.desk.prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal(usd)
    with started_with(at.folder, newer, monkeypatch) as again:
        assert again.desk.books.waiting() is None
        assert again.desk.prices.revision.startswith("genai-prices 9.9 sha256:")
        row = again.desk.books.rows()[0]
        assert (row["loaded_by"], row["note"]) == ("me", "checked with the provider")


def test_a_book_of_yours_stays_in_use_whatever_pip_brings(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    at.desk.load_book(snapshot(input_mtok=3), "three", accept=True, who="me")
    at.control.close()
    with started_with(at.folder, with_a_rate_of("0"), monkeypatch) as again:
        assert again.desk.prices.revision.startswith("genai-prices three sha256:")
        assert again.desk.books.waiting() is None


def test_a_price_of_next_year_that_moves_far_waits_too() -> None:
    def dated(usd: float) -> bytes:
        later = [{"prices": {"input_mtok": 2.5}}, {"constraint": {"start_date": "2027-01-01"}, "prices": {"input_mtok": usd}}]
        model = {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": later}
        return json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "x", "models": [model]}]).encode()

    found = difference(book_of(dated(2)), book_of(dated(50)), AT)
    assert [(str(m.was), str(m.now), m.large, str(m.since)[:10]) for m in found.moves] == [("2", "50", True, "2027-01-01")]


def test_a_book_from_litellm_stands_behind_the_installed_one(at: At) -> None:
    found = at.desk.load_book(LITELLM, "1.109.1", accept=False, who="me")
    assert found.added
    assert f"+ litellm 1.109.1 sha256:{hashlib.sha256(LITELLM).hexdigest()}" in at.desk.prices.revision
    assert at.desk.prices.cost_of("openai", "gpt-4o", AT, 1_000_000, 0).cost_usd == Decimal("2.5")


def test_a_snapshot_that_is_read_from_its_file_says_what_it_said() -> None:
    one, again = book_of(snapshot()), book_of(snapshot())
    assert one.sha256 == again.sha256 != book_of(snapshot(input_mtok=9)).sha256
