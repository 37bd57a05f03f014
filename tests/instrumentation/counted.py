"""Emitted spans through the collector's own steps: what the ledger would say of them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from spanledger.collector.count.count_once import CountOnce
from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.frame import COLUMNS


class _Posted:
    """A ledger that was empty before."""

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def find(self, late: pl.DataFrame, *, since: datetime, horizon: int) -> pl.DataFrame:
        return pl.DataFrame(schema=COLUMNS)

    def named(self, records: pl.DataFrame, *, since: datetime, came: tuple[datetime, datetime] | None) -> pl.DataFrame:
        return pl.DataFrame(schema=COLUMNS)

    def ids(self, *, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        return iter(())

    def entries(self, entry_ids: pl.Series) -> pl.DataFrame:
        return pl.concat(self.frames).filter(pl.col("entry_id").is_in(entry_ids.implode()))


def counted(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    """The calls that stand in the end."""
    now = datetime.now(UTC)
    body = Received(
        sequence=1, received_at=now, signal="traces", encoding="protobuf", compression="identity",
        body=encode_spans(spans).SerializeToString(),
    )  # fmt: skip
    ledger = _Posted()
    counter = CountOnce(None, older=ledger)
    entries = counter.count(recognise(decode([body])), now=now, mark=1)
    ledger.frames.append(entries)
    counter.posted(1, entries)
    ledger.frames.append(counter.due(now=now + timedelta(hours=12)))
    found = [row for frame in ledger.frames for row in frame.to_dicts()]
    undone = {row["stands_for"] for row in found if row["kind"] == "reversal"}
    return [row for row in found if row["kind"] == "call" and row["entry_id"] not in undone]
