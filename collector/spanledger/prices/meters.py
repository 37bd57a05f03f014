"""Everything a provider charges by, as one table: what is counted, what it is part of, and the unit it is priced in.

A counter includes its parts, as OpenTelemetry's do (`input_tokens` includes what was read from a cache), so what is
charged under a meter is its counter less its parts. A part without a rate of its own costs what the whole costs.
"""

from dataclasses import dataclass
from typing import Literal

Component = Literal["input", "cache_read", "cache_write", "output", "other"]

MILLION, THOUSAND, HOUR = 1_000_000, 1_000, 3_600


@dataclass(frozen=True, slots=True)
class Meter:
    """`counter` is a column of the ledger, or a key of its `other_meters`; a rate is USD per `per` of it."""

    counter: str
    rate_key: str
    per: int
    component: Component
    part_of: tuple[str, ...] = ()
    own_rate: bool = False  # a part that does not fall back to the rate of the whole
    instead: bool = False  # charged by some providers in place of tokens: no gap where tokens are charged
    column: bool = True  # False: counted in other_meters
    seconds: bool = False  # counted in fractions


#: The unit is in the name of the rate (`input_mtok` is USD per million tokens): a rate under the wrong
#: unit would be wrong by a thousand without looking wrong. The names are genai-prices' where it has one.
METERS: tuple[Meter, ...] = (
    Meter("input_tokens", "input_mtok", MILLION, "input"),
    Meter("cache_read_tokens", "cache_read_mtok", MILLION, "cache_read", ("input_tokens",)),
    Meter("cache_write_tokens", "cache_write_mtok", MILLION, "cache_write", ("input_tokens",)),
    Meter("cache_write_5m_tokens", "cache_write_5m_mtok", MILLION, "cache_write", ("cache_write_tokens",)),
    Meter("cache_write_1h_tokens", "cache_write_1h_mtok", MILLION, "cache_write", ("cache_write_tokens",)),
    Meter("input_audio_tokens", "input_audio_mtok", MILLION, "input", ("input_tokens",)),
    Meter("cache_read_audio_tokens", "cache_audio_read_mtok", MILLION, "cache_read", ("cache_read_tokens", "input_audio_tokens")),
    Meter("input_image_tokens", "input_image_mtok", MILLION, "input", ("input_tokens",)),
    Meter("cache_read_image_tokens", "cache_image_read_mtok", MILLION, "cache_read",
          ("cache_read_tokens", "input_image_tokens"), column=False),
    Meter("input_video_tokens", "input_video_mtok", MILLION, "input", ("input_tokens",)),
    Meter("output_tokens", "output_mtok", MILLION, "output"),
    Meter("reasoning_tokens", "output_reasoning_mtok", MILLION, "output", ("output_tokens",)),
    Meter("output_audio_tokens", "output_audio_mtok", MILLION, "output", ("output_tokens",)),
    Meter("output_image_tokens", "output_image_mtok", MILLION, "output", ("output_tokens",)),
    Meter("output_video_tokens", "output_video_mtok", MILLION, "output", ("output_tokens",), column=False),
    Meter("citation_tokens", "output_citation_mtok", MILLION, "output", ("output_tokens",), column=False),
    Meter("images", "images_count", 1, "other", instead=True),
    Meter("audio_seconds", "audio_hours", HOUR, "other", instead=True, seconds=True),
    Meter("video_seconds", "video_seconds_count", 1, "other", instead=True, seconds=True),
    Meter("characters", "input_mchars", MILLION, "other", instead=True),
    Meter("pages", "input_document_kpages", THOUSAND, "other", instead=True),
    Meter("annotated_pages", "input_annotated_document_kpages", THOUSAND, "other", ("pages",), column=False),
    Meter("searches", "web_searches_kcount", THOUSAND, "other"),
    Meter("file_searches", "storage_searches_kcount", THOUSAND, "other", ("searches",), own_rate=True, column=False),
    Meter("rerank_searches", "rerank_searches_kcount", THOUSAND, "other", ("searches",), own_rate=True, column=False),
    Meter("social_searches", "social_searches_kcount", THOUSAND, "other", ("searches",), own_rate=True, column=False),
    Meter("map_searches", "map_searches_kcount", THOUSAND, "other", ("searches",), own_rate=True, column=False),
    Meter("code_executions", "code_executions_kcount", THOUSAND, "other", column=False),
    Meter("text_messages", "input_text_messages_kcount", THOUSAND, "other", column=False),
    Meter("requests", "requests_kcount", THOUSAND, "other"),
)  # fmt: skip

BY_COUNTER: dict[str, Meter] = {meter.counter: meter for meter in METERS}
BY_RATE_KEY: dict[str, Meter] = {meter.rate_key: meter for meter in METERS}
COMPONENTS: tuple[Component, ...] = ("input", "cache_read", "cache_write", "output", "other")


def _charged(counter: str) -> dict[str, int]:
    """What is charged under `counter`, as a sum of counters: each token is charged once, under its narrowest meter.

    A meter that is part of two (cached audio is part of the cache reads and of the audio) is subtracted from
    their common whole only once.
    """
    weights = {counter: 1}
    parts = sorted((m for m in METERS if counter in _wholes(m.counter)), key=lambda m: len(_wholes(m.counter)))
    for part in parts:
        above = [name for name in weights if name in _wholes(part.counter)]
        weights[part.counter] = -sum(weights[name] for name in above)
    return {name: weight for name, weight in weights.items() if weight}


def _wholes(counter: str) -> set[str]:
    found: set[str] = set()
    for whole in BY_COUNTER[counter].part_of:
        found |= {whole, *_wholes(whole)}
    return found


#: Counter → the sum of counters that is charged under its meter.
CHARGED: dict[str, dict[str, int]] = {meter.counter: _charged(meter.counter) for meter in METERS}
