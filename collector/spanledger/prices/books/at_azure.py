"""What Azure is known to charge for models of others: where another provider's price stands in for Azure's, it is a price if both
are known to be the same, and otherwise an estimate.
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache

from spanledger.prices.books.found import Found
from spanledger.prices.cell import Cell
from spanledger.prices.meters import MILLION

#: https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry: at Anthropic's standard prices.
_AT_THEIR_OWN_PRICES = frozenset({"anthropic"})

#: USD per million tokens of input, cache read, cache write, cache write for an hour and output, at each size of prompt that has
#: rates of its own. https://azure.microsoft.com/en-us/pricing/details/azure-openai/ and https://prices.azure.com/api/retail/prices,
#: by LiteLLM's map of November 2026, which cites them for each of these; deployments in all of the world, pay as you go.
_CHARGES: Mapping[str, str] = {
    "moonshotai/kimi-k2.5": "0.6 0.1 - - 3",
    "moonshotai/kimi-k2.6": "0.95 0.16 - - 4",
    "moonshotai/kimi-k2.7-code": "0.95 0.19 - - 4",
    "openai/codex-mini": "1.5 0.375 - - 6",
    "openai/computer-use": "3 - - - 12",
    "openai/gpt-3.5-turbo-16k": "3 - - - 4",
    "openai/gpt-4": "30 - - - 60",
    "openai/gpt-4-32k": "60 - - - 120",
    "openai/gpt-4.1": "2 0.5 - - 8",
    "openai/gpt-4.1-mini": "0.4 0.1 - - 1.6",
    "openai/gpt-4.1-nano": "0.1 0.025 - - 0.4",
    "openai/gpt-4.5-preview": "75 37.5 - - 150",
    "openai/gpt-4o": "2.5 1.25 - - 10",
    "openai/gpt-4o-2024-05-13": "5 - - - 15",
    "openai/gpt-4o-mini": "0.15 0.075 - - 0.6",
    "openai/gpt-5": "1.25 0.125 - - 10",
    "openai/gpt-5-mini": "0.25 0.025 - - 2",
    "openai/gpt-5-nano": "0.05 0.005 - - 0.4",
    "openai/gpt-5-pro": "15 - - - 120",
    "openai/gpt-5.1": "1.25 0.125 - - 10",
    "openai/gpt-5.1-codex-mini": "0.25 0.025 - - 2",
    "openai/gpt-5.2": "1.75 0.175 - - 14",
    "openai/gpt-5.2-pro": "21 - - - 168",
    "openai/gpt-5.3": "1.75 0.175 - - 14",
    "openai/gpt-5.3-codex": "1.75 0.175 - - 14",
    "openai/gpt-5.4": "2.5 0.25 - - 15 | 5 0.5 - - 22.5",
    "openai/gpt-5.4-mini": "0.75 0.075 - - 4.5",
    "openai/gpt-5.4-nano": "0.2 0.02 - - 1.25",
    "openai/gpt-5.5": "5 0.5 - - 30 | 10 1 - - 45",
    "openai/gpt-5.6-luna": "0.2 0.02 0.25 - 1.2 | 0.4 0.04 0.5 - 1.8",
    "openai/gpt-5.6-sol": "4 0.4 5 - 20 | 8 0.8 10 - 30",
    "openai/gpt-5.6-terra": "2 0.2 2.5 - 12 | 4 0.4 5 - 18",
    "openai/gpt-6-astra": "10 1 12.5 - 50 | 20 2 25 - 75",
    "openai/gpt-6-luna": "0.1 0.01 0.125 - 0.5 | 0.2 0.02 0.25 - 0.75",
    "openai/gpt-6-sol": "2 0.2 2.5 - 10 | 4 0.4 5 - 15",
    "openai/gpt-6.1-sol": "2 0.1 2.5 - 10 | 4 0.2 5 - 15",
    "openai/gpt-6.1-terra": "1 0.05 1.25 - 5 | 2 0.1 2.5 - 7.5",
    "openai/gpt-chat-latest": "5 0.5 - - 30",
    "openai/o3-deep-research": "10 2.5 - - 40",
    "openai/o3-pro": "20 - - - 80",
    "x-ai/grok-4.3": "1.25 0.2 - - 2.5 | 2.5 0.4 - - 5",
    "x-ai/grok-4.6": "2 0.5 - - 6 | 4 1 - - 12",
}

_COLUMNS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens")


def at_azure(found: Found, cell: Cell) -> Cell:
    """The cell of a model of another provider as what it costs at Azure: an estimate, unless Azure charges just that for tokens.

    What is known is of tokens: searches, for which Azure has a price of its own, are left without one."""
    if found.provider in _AT_THEIR_OWN_PRICES or cell.unpriced is not None:
        return cell
    own = cell.own_rates()
    tokens = {counter: rate for counter, rate in own.items() if counter.endswith("_tokens")}
    if tokens not in _charges().get(found.name, ()):
        return replace(cell, estimated=True)
    return cell if tokens == own else cell.at_rates(tokens)


@cache
def _charges() -> dict[str, tuple[dict[str, Fraction], ...]]:
    return {name: tuple(map(_rates, sizes.split("|"))) for name, sizes in _CHARGES.items()}


def _rates(text: str) -> dict[str, Fraction]:
    said = zip(_COLUMNS, text.split(), strict=True)
    return {counter: Fraction(rate) / MILLION for counter, rate in said if rate != "-"}
