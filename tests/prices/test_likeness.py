"""A name that a book knows only a part of: a snapshot of that model, another version of it, or who knows what."""

from datetime import UTC, datetime

import pytest
from genai_prices import types as genai
from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.prices import Prices
from spanledger.prices.books.clauses import _flat
from spanledger.prices.books.found import Found
from spanledger.prices.books.snapshot import installed
from spanledger.prices.layers import Name

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRICES = Prices()


def spelled() -> list[tuple[str, str, str]]:
    """Provider, name and model of everything that the installed book spells out, by id or by another name."""
    found = []
    for provider, model in installed().models():
        names = {model.id, *(leaf.equals for leaf in _flat(model.match) if isinstance(leaf, genai.ClauseEquals))}
        found += [(provider.id, name, model.id) for name in sorted(names)]
    return found


SPELLED = spelled()


def found(provider: str, name: str) -> Found | None:
    return PRICES.layers.priced(Name(provider=provider, model=name)).found


def test_every_name_that_the_book_spells_out_is_known_without_a_doubt() -> None:
    assert len(SPELLED) > 3_000
    doubtful = [
        (provider, name, got)
        for provider, name, _ in SPELLED
        if (got := found(provider, name)) is None or got.rest or "prefix_match" in got.flags
    ]
    assert not doubtful


def test_every_beginning_that_the_book_lists_finds_a_model() -> None:
    """What stands in the book as a beginning, an end or a part of names is a name itself, but where a date is cut off."""
    lost = []
    for provider, model in installed().models():
        for leaf in _flat(model.match):
            text = getattr(leaf, "starts_with", None) or getattr(leaf, "ends_with", None) or getattr(leaf, "contains", None)
            if text and not text.startswith("/") and not text.endswith("-2024-") and found(provider.id, text) is None:
                lost.append((provider.id, text))
    assert not lost


#: Names as providers publish them, of models that the book knows only by a part of the name.
SNAPSHOTS = [
    ("anthropic", "claude-haiku-4-5-20251001"),
    ("anthropic", "claude-opus-4-1-20250805"),
    ("anthropic", "claude-sonnet-4-20250514"),
    ("anthropic", "claude-haiku-4-5-latest"),
    ("google", "claude-haiku-4-5@20251001"),
    ("google", "claude-3-5-sonnet-v2@20241022"),
    ("google", "gemini-2.0-flash-001"),
    ("google", "gemini-1.5-pro-002"),
    ("google", "gemini-2.5-pro-preview-05-06"),
    ("google", "gemini-3.8-flash-preview-09-2025"),
    ("google", "gemini-3.5-flash-001"),
    ("aws", "amazon.nova-lite-v1:0"),
    ("aws", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ("aws", "us.anthropic.claude-3-5-haiku-20241022-v1:0"),
    ("aws", "apac.anthropic.claude-sonnet-4-20250514-v1:0"),
    ("aws", "anthropic.claude-opus-4-6-v1"),
    ("aws", "eu.anthropic.claude-opus-4-6-v1"),
    ("aws", "mistral.mistral-7b-instruct-v0:2"),
    ("aws", "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("openai", "gpt-4o-audio-preview-2025-06-03"),
    ("openai", "gpt-5.6-sol-2026-09-09"),
    ("openai", "ft:gpt-4o-2024-08-06:acme:v2:9abc1"),
    ("openai", "ft:gpt-3.5-turbo-0125:acme::2"),
    ("openai", "gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678"),
    ("azure", "azure/o4-mini-2025-04-16"),
    ("mistral", "magistral-medium-2509"),
    ("moonshotai", "kimi-k2.5-0905"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "name"), SNAPSHOTS)
def test_a_snapshot_of_a_known_model_has_its_price(provider: str, name: str) -> None:
    quote = PRICES.cost_of(provider, name, AT, 1_000, 100)
    assert (quote.cost_state, "prefix_match" in quote.flags) == ("priced", False), quote


#: Names that genai-prices prices as a model of another version.
OTHERS = [
    ("anthropic", "claude-sonnet-4-55"),
    ("anthropic", "claude-haiku-4-5-2"),
    ("anthropic", "claude-sonnet-4-5.1"),
    ("anthropic", "claude-opus-4-1-v2"),
    ("aws", "amazon.nova-lite-v2:0"),
    ("aws", "eu.amazon.nova-lite-v2:0"),
    ("aws", "us.mistral.mistral-7b-instruct-v0:3"),
    ("google", "gemini-3.8-flash-9"),
    ("google", "gemini-3.5-flash-9"),
    ("google", "gemini-1.5-flash-2"),
    ("deepseek", "deepseek-chat-2"),
    ("deepseek", "deepseek-chat-v4"),
    ("deepseek", "deepseek-chat-001"),
    ("deepseek", "deepseek-chatter"),
    ("deepseek", "deepseek-chat-v1"),
    ("openai", "ft:gpt-3.5-turbo-2:acme::x"),
    ("moonshotai", "kimi-k2.55"),
    ("azure", "o4-mini-2"),
    ("cohere", "command-light-2"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "name"), OTHERS)
def test_another_version_is_another_model_and_unpriced(provider: str, name: str) -> None:
    quote = PRICES.cost_of(provider, name, AT, 1_000, 100)
    assert (quote.cost_usd, quote.unpriced_reason) == (None, "unknown model")


VERSIONS = st.one_of(
    st.tuples(st.sampled_from(["", "-", ".", "-v", "v", ":", "@", "_"]), st.integers(2, 99)).map(
        lambda pair: f"{pair[0]}{pair[1]}"
    ),
    st.sampled_from(["-v2:0", "-v3", ".1", "-1.5", "-2-5", "-2b", "x", "-next", "-100", "-12345"]),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SPELLED), VERSIONS)
def test_no_model_is_priced_as_another_version_of_itself_without_a_flag(which: tuple[str, str, str], version: str) -> None:
    provider, name, model = which
    longer = f"{name}{version}"
    if (got := found(provider, longer)) is None or got.match in ("exact", "alias"):
        return
    assert "prefix_match" in got.flags or got.model != model or name.startswith("ft:") or ".ft-" in name, got
    cells = PRICES.cells(provider, longer).cells
    assert "prefix_match" not in got.flags or all(cell.estimated or cell.unpriced for cell in cells)
