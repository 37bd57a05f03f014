"""What one book says of a name as it was sent, and what is odd about how it was found."""

from dataclasses import replace
from fractions import Fraction

from spanledger.prices.books.book import Book
from spanledger.prices.books.found import Found
from spanledger.prices.cell import Cell, overlay, times
from spanledger.prices.names import routed, spellings
from spanledger.prices.tiers import BATCH, STANDARD

#: Providers whose own price lists give half price for batches; the books say so only from October 2026 on.
#: A call that is priced by this rule is `estimated` and flagged.
HALF_PRICE_BATCHES = frozenset({"openai", "anthropic", "azure", "aws", "google", "mistral", "groq"})


def known_as(book: Book, provider: str, model: str, variant: str) -> tuple[Found, Found] | None:
    """What a book finds under the first spelling of a name that it knows every word of, or else the first that it knows; as the
    book says it and as it is judged."""
    first: tuple[Found, Found] | None = None
    for spelled, changed in spellings(provider, model, variant):
        found = book.find(provider, spelled)
        if found is not None and (first is None or not found.rest):
            first = found, _judged(found, model, changed)
            if not found.rest:
                break
    return first


def of_tier(book: Book, found: Found, tier: str, provider: str) -> tuple[Cell, ...]:
    """The cells of a model under a tier; half the standard price for a batch of which the book does not know."""
    cells = book.cells(found, tier)
    if tier != BATCH or provider not in HALF_PRICE_BATCHES or all(cell.unpriced is None for cell in cells):
        return cells
    halved = [
        replace(
            cell,
            rates={**cell.rates, **times({c: r for c, r in cell.rates.items() if c.endswith("_tokens")}, Fraction(1, 2))},
            estimated=True,
            flags=(*cell.flags, "batch_half_assumed"),
        )
        for cell in book.cells(found, STANDARD)
        if cell.unpriced is None
    ]
    return overlay(halved or cells, cells)


def _judged(found: Found, sent: str, changed: bool) -> Found:
    """`found` with what is unusual about how it was found, judged by the name as it was sent."""
    flags = list(found.flags)
    if sent.strip().lower().endswith("-latest") and not found.model.lower().endswith("-latest"):
        flags.append("alias_drift")
    if found.rest:
        flags.append("prefix_match")
    if found.provider == "openrouter":
        flags += routed(sent)
    match = "alias" if changed and found.match == "exact" else found.match
    return Found(provider=found.provider, model=found.model, match=match, flags=tuple(flags))
