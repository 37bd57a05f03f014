"""LiteLLM's `model_prices_and_context_window.json` as a book. Its data only: nothing of LiteLLM is imported."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from spanledger.prices.books.flat import OF_NO_SIZE, Flat, Listing
from spanledger.prices.cell import DAY_MINUTES, UNBOUNDED, Box, Cell, overlay
from spanledger.prices.names import of_size, provider_id
from spanledger.prices.tiers import BATCH, STANDARD

#: LiteLLM's field → (counter, how many of it the price is for).
_FIELDS: dict[str, tuple[str, int]] = {
    "input_cost_per_token": ("input_tokens", 1),
    "output_cost_per_token": ("output_tokens", 1),
    "cache_read_input_token_cost": ("cache_read_tokens", 1),
    "cache_creation_input_token_cost": ("cache_write_tokens", 1),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_1h_tokens", 1),
    "output_cost_per_reasoning_token": ("reasoning_tokens", 1),
    "input_cost_per_audio_token": ("input_audio_tokens", 1),
    "output_cost_per_audio_token": ("output_audio_tokens", 1),
    "cache_read_input_audio_token_cost": ("cache_read_audio_tokens", 1),
    "input_cost_per_image_token": ("input_image_tokens", 1),
    "output_cost_per_image_token": ("output_image_tokens", 1),
    "cache_read_input_image_token_cost": ("cache_read_image_tokens", 1),
    "input_cost_per_video_token": ("input_video_tokens", 1),
    "output_cost_per_video_token": ("output_video_tokens", 1),
    "citation_cost_per_token": ("citation_tokens", 1),
    "output_cost_per_image": ("images", 1),
    "ocr_cost_per_page": ("pages", 1),
    "annotation_cost_per_page": ("annotated_pages", 1),
    "google_maps_grounding_cost_per_query": ("map_searches", 1),
    "file_search_cost_per_1k_calls": ("file_searches", 1000),
    "input_cost_per_request": ("requests", 1),
    "input_cost_per_text_message": ("text_messages", 1),
}
_TIERS = {"batches": BATCH, "flex": "flex", "priority": "priority", "ultrafast": "ultrafast", "balanced": "balanced"}
#: A size as the map writes it.
_SIZE = re.compile(r"(\d+)-x-(\d+)")
_KEY = re.compile(r"^(?P<field>.+?)(?:_above_(?P<over>\d+)k_tokens)?(?:_(?P<tier>batches|flex|priority|ultrafast|balanced))?$")

#: Sizes that a rate by resolution is for, as `output_cost_per_second_720p`.
_RESOLUTIONS = {
    "480p": ("854x480", "480x854", "848x480", "480x848"), "720p": ("1280x720", "720x1280"),
    "1080p": ("1920x1080", "1080x1920"), "4k": ("3840x2160", "2160x3840"),
}  # fmt: skip
_BY_RESOLUTION = re.compile(r"output_cost_per(?:_video_per)?_second_(480p|720p|1080p|4k)")

#: LiteLLM's field → our word for what a model can do.
_ABILITIES = {
    "supports_function_calling": "tools", "supports_vision": "vision", "supports_reasoning": "reasoning",
    "supports_response_schema": "json", "supports_audio_input": "audio", "supports_pdf_input": "pdf",
    "supports_web_search": "search", "supports_prompt_caching": "caching",
}  # fmt: skip


def litellm_book(file: Mapping[str, Any], version: str, sha256: str) -> Flat:
    """The book in a parsed file; entries without any price that a meter exists for are left out."""
    models: dict[tuple[str, str], Listing] = {}
    for name, entry in file.items():
        if name == "sample_spec" or not isinstance(entry, Mapping):
            continue
        provider = _provider(str(entry.get("litellm_provider") or ""))
        listing = _listing(_by_image(name, entry))
        if not provider or not listing.tiers:
            continue
        # Keys are `azure/eu/gpt-4o` as well as `gpt-4o`: telemetry has either.
        plain = _SIZE.sub(r"\1x\2", name.lower())
        sized = [(size, _listing(rated)) for size, rated in _by_resolution(entry)]
        listing = Listing(tiers={}, unpriced=OF_NO_SIZE) if sized else listing
        models[provider, plain] = listing
        for prefix in ("", f"{entry['litellm_provider']}/".lower(), f"{provider}/"):
            models.setdefault((provider, plain.removeprefix(prefix)), listing)
            for size, priced in sized:
                models.setdefault((provider, f"{size}/{plain.removeprefix(prefix)}"), priced)
    for provider, name in list(models):
        if (whole_model := of_size(name)) is not None:
            models.setdefault((provider, whole_model), Listing(tiers={}, unpriced=OF_NO_SIZE))
    return Flat("litellm", version, sha256, models)


def _by_resolution(entry: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """What makes videos, by each size that has a rate; what is smaller than all of these has the general rate."""
    usd = entry.get("output_cost_per_second", entry.get("output_cost_per_video_per_second"))
    rates = {found[1]: usd for key, usd in entry.items() if (found := _BY_RESOLUTION.fullmatch(key))}
    for resolution, sizes in _RESOLUTIONS.items() if rates else ():
        usd = rates.get(resolution, usd)
        if usd is not None:
            yield from ((size, {**entry, "output_cost_per_second": usd}) for size in sizes)
        usd = None if resolution in rates else usd


def _by_image(name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What makes images, with one price for each: the map also calls it the input's, or gives it by the pixel."""
    if entry.get("mode") != "image_generation" or entry.get("output_cost_per_image"):
        return entry
    if each := entry.get("input_cost_per_image"):
        return {**entry, "output_cost_per_image": each}
    size = _SIZE.search(name)
    pixels = [entry.get(f"{way}_cost_per_pixel") for way in ("input", "output")]
    if size is None or not any(pixels):
        return entry
    by_pixel = sum(Decimal(repr(one)) for one in pixels if isinstance(one, int | float))
    return {**entry, "output_cost_per_image": float(by_pixel * int(size[1]) * int(size[2]))}


def _listing(entry: Mapping[str, Any]) -> Listing:
    rates: dict[str, dict[int, dict[str, Fraction]]] = {}
    for key, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        parts = _KEY.match(key)
        if parts is None:
            continue
        meter = _FIELDS.get(parts["field"]) or _by_mode(parts["field"], entry)
        if meter is None:
            continue
        over = int(parts["over"]) * 1000 if parts["over"] else -1
        counter, many = meter
        tier = _TIERS.get(parts["tier"] or "", STANDARD)
        rates.setdefault(tier, {}).setdefault(over, {})[counter] = exactly(value) / many
    for over, part in _ranges(entry.get("tiered_pricing")):
        for key, value in part.items():
            if key in _FIELDS and isinstance(value, int | float):
                rates.setdefault(STANDARD, {}).setdefault(over, {})[_FIELDS[key][0]] = exactly(value) / _FIELDS[key][1]
    search = entry.get("search_context_cost_per_query")
    if isinstance(search, Mapping) and STANDARD in rates:
        each = search.get("search_context_size_medium", search.get("search_context_size_low"))
        if isinstance(each, int | float):
            rates[STANDARD].setdefault(-1, {})["searches"] = exactly(each)
    for sizes in rates.values():
        for size in sizes.values():
            _drop_zeros(size)
    tiers = {
        tier: tuple(_sized(sizes, rates.get(STANDARD, {})))
        for tier, sizes in rates.items()
        if any(map(any_price, sizes.values()))
    }
    if STANDARD in tiers:
        tiers[STANDARD] = _off_peak(tiers[STANDARD], entry.get("off_peak_pricing"))
    return Listing(
        tiers=tiers,
        context_window=whole(entry.get("max_input_tokens")),
        max_output_tokens=whole(entry.get("max_output_tokens")),
        abilities=frozenset(word for key, word in _ABILITIES.items() if entry.get(key)),
    )


def _ranges(tiered: Any) -> Iterable[tuple[int, Mapping[str, Any]]]:
    """Rates by the size of the prompt, each with the size above which it is in force; all tokens are charged at one of them."""
    for part in tiered if isinstance(tiered, list) else ():
        if isinstance(part, Mapping) and (sizes := part.get("range")) and (over := whole(sizes[0])) is not None:
            yield (over or -1), part


def _drop_zeros(rates: dict[str, Fraction]) -> None:
    """Where no token costs anything, something else is charged: zero means "not by tokens" there, not "free"."""
    tokens = [counter for counter in rates if counter.endswith("_tokens")]
    if not any(rates[counter] for counter in tokens):
        for counter in tokens:
            del rates[counter]


def _by_mode(key: str, entry: Mapping[str, Any]) -> tuple[str, int] | None:
    """Fields whose meaning hangs on what the model does."""
    mode = entry.get("mode")
    match key:
        case "input_cost_per_second" | "output_cost_per_second" if mode in ("audio_transcription", "audio_speech"):
            return "audio_seconds", 1
        case "output_cost_per_second" | "output_cost_per_video_per_second" if mode == "video_generation":
            return "video_seconds", 1
        case "input_cost_per_character" | "output_cost_per_character" if mode == "audio_speech":
            return "characters", 1
        case "input_cost_per_query":
            return ("rerank_searches", 1) if mode == "rerank" else ("searches", 1)
        case _:
            return None


def _sized(sizes: Mapping[int, Mapping[str, Fraction]], standard: Mapping[int, Mapping[str, Fraction]]) -> Iterable[Cell]:
    """Above a threshold all tokens are charged at its rates; a meter without one there keeps the rate from below."""
    base = {**standard.get(-1, {}), **sizes.get(-1, {})} if -1 not in sizes else dict(sizes[-1])
    thresholds = sorted(over for over in sizes if over >= 0)
    for over, upto in pairwise([-1, *thresholds, UNBOUNDED]):
        if over in sizes:
            base |= sizes[over]
        yield Cell(box=Box(over=over, upto=upto)).at_rates(base)


def _off_peak(cells: tuple[Cell, ...], pricing: Any) -> tuple[Cell, ...]:
    if not isinstance(pricing, Mapping):
        return cells
    rates = {
        _FIELDS[key][0]: exactly(value) for key, value in pricing.items() if key in _FIELDS and isinstance(value, int | float)
    }
    for window in pricing.get("windows") or ():
        days = sum(1 << (day - 1) for day in window.get("weekdays", range(1, 8)))
        spans = window.get("hours_utc") or []
        for span in [spans] if isinstance(spans, str) else spans:
            first, last = (int(clock[:2]) * 60 + int(clock[3:]) for clock in span.split("-"))
            box = Box(minute_from=first, minute_to=last or DAY_MINUTES, weekdays=days)
            cells = overlay(cells, [Cell(box=box).at_rates({**cells[0].own_rates(), **rates})])
    return cells


def any_price(rates: Mapping[str, Fraction]) -> bool:
    """Whether anything costs something: an entry of zeros is a gap, not a gift."""
    return any(rates.values())


def exactly(value: float) -> Fraction:
    """The decimal that a float was written as: 2.5e-06, not what it is in binary."""
    return Fraction(Decimal(repr(value)))


def whole(value: Any) -> int | None:
    """A count that files give as a number or as text."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _provider(spelled: str) -> str:
    if spelled.startswith("vertex_ai"):
        return "google"
    return provider_id(spelled)
