"""The collector's figures for `/metrics`: read where they stand, when somebody asks."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as Figures

from spanledger.collector.journal.journal import Journal
from spanledger.collector.loop import Loop
from spanledger.collector.pass_through import PassThrough
from spanledger.collector.receive.accept import Accept
from spanledger.ledger.maintenance import Maintenance


class CollectorFigures(Figures):
    """Received, refused, waiting, posted, kept: one family a question."""

    def __init__(
        self,
        *,
        data: Path,
        accept: Accept,
        journal: Journal,
        loop: Loop,
        maintenance: Maintenance,
        pass_through: PassThrough | None,
    ) -> None:
        self._data, self._accept, self._journal, self._loop, self._maintenance = data, accept, journal, loop, maintenance
        self._pass_through = pass_through

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks for at each scrape."""
        tally, progress, keeping = self._accept.tally, self._loop.progress, self._maintenance.progress
        yield _counted("received_bodies", "OTLP requests acknowledged", "signal", dict(tally.accepted))
        yield _counted("received_bytes", "bytes of the requests acknowledged, as sent", "signal", dict(tally.accepted_bytes))
        yield _counted("refused_requests", "OTLP requests refused", "reason", tally.refused)
        yield _counted(
            "rejected_records", "spans, log records and points rejected in acknowledged requests", "signal", dict(tally.rejected)
        )
        yield _gauge(
            "journal_bodies", "bodies acknowledged that wait for the ledger, or for the backend behind", self._journal.bodies
        )
        yield _gauge("journal_bytes", "their bytes", self._journal.bytes)
        yield _gauge("journal_limit_bytes", "bytes at which senders are told to wait", self._journal.limit_bytes)
        oldest = self._journal.oldest()
        lag = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        yield _gauge("commit_lag_seconds", "age of the oldest body that is not yet in the ledger", max(0.0, lag))
        yield _gauge(
            "journal_set_aside_bodies", "bodies set aside, see `spanledger journal list`", self._journal.count_set_aside()
        )
        yield _total("batches", "batches posted or found to hold nothing about models", progress.batches)
        yield _total("seen_records", "spans, log records and points decoded, also those about no model", progress.seen)
        yield _counted("step_seconds", "seconds spent in a step", "step", dict(progress.seconds))
        yield _counted("entries", "entries posted", "kind", dict(progress.entries))
        yield _total("unpriced_entries", "entries posted without a price", progress.unpriced)
        yield _gauge("loop_failing", "1 while the ledger cannot be written", int(bool(progress.failing)))
        yield _gauge("ledger_files", "Parquet files of the newest snapshot", keeping.files)
        yield _gauge("ledger_bytes", "their bytes", keeping.bytes)
        yield _total("compactions", "days whose files were put together", keeping.compactions)
        yield _total("removed_files", "files deleted after compaction or retention", keeping.removed)
        yield _gauge("replaced_files", "files that no snapshot names any more and that wait for readers", keeping.waiting)
        yield _total("expired_files", "files of days past their retention", keeping.expired_files)
        yield _total("rolled_up_files", "files whose sums were put into the roll-up", keeping.rolled_up)
        yield _total("log_checkpoints", "checkpoints written into the ledger's log", keeping.checkpoints)
        yield _total("removed_log_entries", "log entries deleted after a checkpoint", keeping.log_entries_removed)
        yield _gauge(
            "damaged_files", "files of the ledger that are missing or were cut, see `spanledger doctor`", len(keeping.damaged)
        )
        yield _gauge(
            "maintenance_elsewhere", "1 while another collector keeps the files of this ledger", int(keeping.kept_elsewhere)
        )
        yield _gauge("maintenance_failing", "1 while maintenance of the ledger fails", int(bool(keeping.failing)))
        yield _counted("maintenance_seconds", "seconds spent on the ledger's upkeep", "step", dict(keeping.seconds))
        if self._pass_through is not None:
            passing = self._pass_through.progress
            yield _total("handed_on_bodies", "bodies that the backend behind this collector took", passing.delivered)
            yield _total("handed_on_refused_bodies", "bodies that it refused for good", passing.refused)
            yield _total("handed_on_retries", "times that it was tried again", passing.retries)
            behind = self._journal.behind(self._pass_through.name)
            yield _gauge("handed_on_behind_bodies", "bodies that it has not had yet", behind)
        yield _gauge("disk_free_bytes", "bytes free where the data folder is", shutil.disk_usage(self._data).free)


def _counted(name: str, says: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(f"spanledger_{name}", says, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _total(name: str, says: str, value: float) -> Metric:
    return CounterMetricFamily(f"spanledger_{name}", says, value=value)


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(f"spanledger_{name}", says, value=value)
