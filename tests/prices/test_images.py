"""Images are priced by quality and size, from what telemetry says of them to the entry, and say so where there is no price."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from spanledger.collector.decode.decode import decode
from spanledger.collector.recognise.recognise import recognise
from spanledger.prices import Prices
from spanledger.prices.books.file import book_of
from spanledger.prices.books.flat import OF_NO_SIZE
from tests.dialects.spans import body_of, chat
from tests.prices.desks import At, desk_at
from tests.prices.test_moved_calls import ALL

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LITELLM = (Path(__file__).parent / "books" / "litellm.json").read_bytes()
HD, SMALL = ({"provider": "acme", "model": f"{of}/painter", "rates": {"images_count": usd}}
             for of, usd in (("hd/1024x1024", "0.08"), ("512x512", "0.02")))  # fmt: skip


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    with desk_at(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("said", "variant"),
    [
        ({"openai.response.image.size": "1024x1024", "openai.response.image.quality": "high"}, "high/1024x1024"),
        ({"openai.request.image.size": "1792x1024", "openai.request.image.quality": "HD"}, "hd/1792x1024"),
        ({"openai.request.image.size": "auto", "openai.response.image.size": "512x512"}, "512x512"),
        ({"openai.request.image.size": "auto", "openai.request.image.quality": "auto"}, None),
        ({"openai.response.video.size": "720x1280"}, "720x1280"),
        ({}, None),
    ],
)
def test_quality_and_size_are_read_from_what_was_answered_before_what_was_asked(
    said: dict[str, str], variant: str | None
) -> None:
    span = chat(id="i", attributes={"gen_ai.operation.name": "image_generation", "spanledger.meter.images": 2, **said})
    plain = chat(id="p")
    found = recognise(decode([body_of(span, plain)]))
    assert sorted(found["variant"].to_list(), key=str) == sorted([variant, None], key=str)


@pytest.mark.parametrize(
    ("variant", "cost", "reason"),
    [
        ("hd/1024x1024", "0.16", None),
        ("hd/512x512", "0.04", None),  # a price for a size is one for every quality that has none of its own
        ("512x512", "0.04", None),
        ("hd/1792x1024", None, OF_NO_SIZE),
        (None, None, OF_NO_SIZE),
    ],
)
def test_a_rule_prices_images_by_quality_and_size(at: At, variant: str | None, cost: str | None, reason: str | None) -> None:
    at.desk.make([HD, SMALL], who="me")
    call = {"provider": "acme", "model": "painter", "variant": variant, "images": 2, "input_tokens": None, "output_tokens": None}
    at.post([call, {}])
    found = at.sql("select cost_usd, cost_state, unpriced_reason from calls where provider = 'acme'")[0]
    assert found == (None if cost is None else Decimal(cost), "unpriced" if cost is None else "priced", reason)


def test_a_price_by_size_re_rates_what_was_unpriced(at: At) -> None:
    call = {"provider": "acme", "model": "painter", "images": 3, "input_tokens": None, "output_tokens": None}
    at.post([{**call, "variant": "hd/1024x1024"}, {**call, "variant": "512x512"}])
    assert at.sql("select distinct unpriced_reason from calls") == [("unknown model",)]
    at.desk.make([HD, SMALL], who="me")
    at.desk.rerate(ALL, who="me", note="prices came", post=True)
    sums = "select variant, sum(calls), sum(images), sum(cost_usd) from entries where cost_state = 'priced' group by 1 order by 1"
    assert at.sql(sums) == [("512x512", 1, 3, Decimal("0.06")), ("hd/1024x1024", 1, 3, Decimal("0.24"))]


@pytest.mark.parametrize(
    ("provider", "model", "variant", "cost"),
    [
        ("azure", "dall-e-3", "hd/1024x1024", "0.08799995822080"),  # the map has it by the pixel
        ("azure", "dall-e-3", "1024x1024", "0.0440000315392"),  # who is not told a quality makes the standard one
        ("openai", "gpt-image-9", "high/1024x1024", "0.133"),
        ("openai", "gpt-image-9", "low/1024x1024", None),
    ],
)
def test_litellms_file_prices_images_by_quality_and_size(provider: str, model: str, variant: str, cost: str | None) -> None:
    found = Prices([book_of(LITELLM)], site=False)
    rows = pl.DataFrame([{"provider": provider, "model": model, "variant": variant, "occurred_at": AT, "images": 1}])
    row = found.price(rows).row(0, named=True)
    assert row["cost_usd"] == (None if cost is None else round(Decimal(cost), 12))
    assert row["unpriced_reason"] == (None if cost else OF_NO_SIZE)


def test_images_of_a_size_without_a_price_are_one_part_of_a_call_that_has_others() -> None:
    found = Prices()
    rows = pl.DataFrame(
        [{"provider": "openai", "model": "gpt-image-1", "variant": "high/1024x1024", "occurred_at": AT, "images": 2,
          "input_tokens": 50, "output_tokens": tokens} for tokens in (1_000, 0)]
    )  # fmt: skip
    priced = found.price(rows)
    assert priced["unpriced_reason"].to_list() == [None, None]  # who charges tokens counts images for information
    only_images = found.price(rows.with_columns(input_tokens=pl.lit(None, pl.Int64), output_tokens=pl.lit(None, pl.Int64)))
    assert only_images["unpriced_reason"].to_list() == ["no rate for images"] * 2


@pytest.mark.parametrize(
    ("variant", "cost"),
    [("480x854", "0.64"), ("720x1280", "1.12"), ("1920x1080", "2"), ("3840x2160", None), ("600x600", None), (None, None)],
)
def test_a_video_is_priced_by_its_resolution_and_not_at_the_rate_of_another(variant: str | None, cost: str | None) -> None:
    """LiteLLM's map has 0.08 a second in general, 0.14 for 720p and 0.25 for 1080p."""
    prices = Prices([book_of(LITELLM)], site=False)
    entries = pl.DataFrame(
        {
            "provider": ["xai"],
            "model": ["grok-imagine-video-1.5"],
            "variant": [variant],
            "occurred_at": [AT],
            "video_seconds": [8.0],
        },
        schema_overrides={"variant": pl.String},
    )
    (row,) = prices.price(entries).to_dicts()
    assert row["cost_usd"] == (None if cost is None else Decimal(cost))
    assert row["unpriced_reason"] == (OF_NO_SIZE if cost is None else None)
