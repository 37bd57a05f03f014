"""The steps of the loop over real parts: decode, recognise, count once, price, post."""

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.older import LedgerEvidence
from spanledger.collector.dated import Dating
from spanledger.collector.decode.decode import Telemetry, decode
from spanledger.collector.receive.senders import Senders
from spanledger.collector.received import Received
from spanledger.collector.recognise.assumptions import CachedInput
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.content import LONGEST_UNREAD, read_by
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.connect import connect
from spanledger.ledger.table import Ledger
from spanledger.limits import Limits
from spanledger.prices import Prices

logger = logging.getLogger(__name__)


class RealSteps:
    """Joins the parts that `Collector` owns."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        prices: Prices,
        limits: Limits,
        attribution: Attribution,
        counting: Counting,
        evidence: Path,
        senders: Senders,
        settled: Sequence[CachedInput] = (),
    ) -> None:
        """`evidence` is the folder in which the counter keeps what a restart needs."""
        self._ledger, self._prices, self._limits, self._attribution = ledger, prices, limits, attribution
        self._counting, self._evidence, self._senders = counting, evidence, senders
        self._settled = settled
        self._reads = read_by(attribution)
        self._dating = Dating()

    def decode(self, bodies: Sequence[Received]) -> Telemetry:
        """Bodies to columns, without prompts and answers."""
        telemetry = decode(bodies, self._attribution.bytes, bounded=True)
        telemetry.without_content(self._reads, LONGEST_UNREAD)
        return telemetry

    def recognise(self, telemetry: Telemetry) -> pl.DataFrame:
        """Columns to evidence."""
        return self._senders.with_bound_tenants(recognise(telemetry, self._attribution, self._settled))

    def fresh_count_once(self, mark: int) -> CountOnce:
        """A counter that knows what the ledger knows up to `mark`."""
        return CountOnce(self._counting, folder=self._evidence, mark=mark, older=LedgerEvidence(self._ledger.table.table_uri))

    def price(self, entries: pl.DataFrame) -> pl.DataFrame:
        """Entries with their money."""
        return self._prices.price(entries)

    def post(self, entries: pa.Table, frame: pl.DataFrame, mark: int | None) -> None:
        """Commit to the ledger, then feed the counters: one step, so that a new limit counts each entry once."""
        with self._limits.in_step():
            dated = self._dating.date(entries)
            if not self._ledger.post(dated.entries, mark):
                return
            self._dating.written(dated)
            try:
                self._limits.post(frame)
            except Exception:
                # The entries are in the ledger and must not be posted again; the counters can be had from there.
                logger.exception("the counters could not take a batch and are rebuilt from the ledger")
                self.rebuild_limits()

    def rebuild_limits(self) -> None:
        """Count all limits anew from the ledger."""
        with connect(self._ledger.table.table_uri, damaged="leave out") as connection:
            self._limits.rebuild(connection)
