"""The collector: owns journal, ledger, prices, control database, limits and receivers, and starts and stops them in order."""

import asyncio
import errno
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow as pa
from prometheus_client import CollectorRegistry

from spanledger.collector.config import Config, ConfigError
from spanledger.collector.count.evidence_files import EvidenceFiles
from spanledger.collector.exporter_settings import OtlpExporter
from spanledger.collector.figures import CollectorFigures
from spanledger.collector.journal.file import JournalError
from spanledger.collector.journal.journal import Journal
from spanledger.collector.journal.name import give_name
from spanledger.collector.lock import AlreadyRunning, FolderLock
from spanledger.collector.loop import Loop
from spanledger.collector.own_telemetry import OwnTelemetry, destinations
from spanledger.collector.pass_through import Deliver, OverGrpc, OverHttp, PassThrough
from spanledger.collector.pricing import PriceDesk, PriceTimer, open_prices
from spanledger.collector.reading import PIECE_BYTES
from spanledger.collector.receive.accept import Accept
from spanledger.collector.receive.connections import within_files
from spanledger.collector.receive.grpc import GrpcReceiver
from spanledger.collector.receive.http import HttpReceiver
from spanledger.collector.receive.http_connection import HttpBounds
from spanledger.collector.receive.senders import Senders
from spanledger.collector.receive.tls import TlsFiles, TlsUnusable
from spanledger.collector.setting_values import is_loopback
from spanledger.collector.settings import Grpc, Http, Tls
from spanledger.collector.steps import RealSteps
from spanledger.collector.whole_ledger import over_what_is_readable, say_what_is_missing
from spanledger.control import Control, ControlError
from spanledger.control.keys import Keys
from spanledger.ledger.connect import connect
from spanledger.ledger.maintenance import Maintenance
from spanledger.ledger.opening import note_location
from spanledger.ledger.table import Ledger, LedgerError
from spanledger.limits import LimitError, Limits
from spanledger.prices import Prices
from spanledger.prices.books.file import NotABook

logger = logging.getLogger(__name__)

#: The journal's reader that hands bodies on.
_HANDS_ON = "otlp"

#: How long requests under way may take to end once the collector stops, at most.
GRACE_SECONDS = 5.0
#: What a step may take beyond the grace: a batch under way ends within that.
_LEEWAY_SECONDS = 2.0


class Collector:
    """One running collector over a data folder. `start` and `stop` are called from one event loop."""

    config: Config
    data: Path
    ledger: Ledger
    prices: Prices
    price_desk: PriceDesk
    control: Control
    limits: Limits
    keys: Keys
    senders: Senders
    journal: Journal
    loop: Loop
    maintenance: Maintenance
    pass_through: PassThrough | None = None
    own_telemetry: OwnTelemetry | None = None

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None) -> None:
        """`environ` says where the collector's own telemetry goes, in the standard `OTEL_*` variables; None sends none."""
        self.config = config
        self._environ = environ or {}
        self.data = config.data
        self.registry = CollectorRegistry()
        self.addresses: dict[str, str] = {}
        self._not_ready: str | None = "starting"
        self._lock: FolderLock | None = None
        self._accept: Accept | None = None
        self._receivers: list[GrpcReceiver | HttpReceiver] = []
        self._opened: list[str] = []
        self.unfinished: list[str] = []

    async def start(self) -> None:
        """Open everything, bring what the journal holds into the ledger, then listen.

        Raises `ConfigError` with one clear line when something configured cannot be had; nothing is left open then.
        """
        try:
            await asyncio.to_thread(self._open)
            await self._listen()
            told = await asyncio.to_thread(destinations, self._environ, list(self.addresses.values()))
            if told:
                self.own_telemetry = OwnTelemetry(self._environ, self.registry, told)
                self.loop.tracer = self.own_telemetry.tracer
        except BaseException:
            await self.stop()
            raise
        self._not_ready = None

    async def stop(self, seconds: float | None = None) -> None:
        """Take nothing new, bring what was acknowledged into the ledger, close. Does nothing when already stopped.

        Takes `seconds`, by default service.shutdown_grace, and little more: what is not posted by then is in the journal. What
        has not ended by then stands in `unfinished`, and may be cut off: whatever is on disk bears it.
        """
        deadline = time.monotonic() + (self.config.settings.service.shutdown_grace if seconds is None else max(seconds, 0))
        self._not_ready = "stopping"
        if self._accept is not None:
            self._accept.close()
        if "maintenance" in self._opened:
            self.maintenance.end()
        grace = min(GRACE_SECONDS, _left(deadline) / 2)
        await asyncio.gather(*(receiver.stop(grace) for receiver in self._receivers))
        self._receivers.clear()
        if "limits" in self._opened:
            try:
                async with asyncio.timeout(_left(deadline) + _LEEWAY_SECONDS):
                    await self.limits.leave()
            except TimeoutError:
                self.unfinished.append("counters")
        await asyncio.to_thread(self._close, deadline)

    def abandon(self) -> None:
        """Told to end while it starts and replays, a process that exits now must not leave the blame to what it replayed."""
        if "loop" in vars(self):
            self.loop.deaths.leave()

    def ready(self) -> str | None:
        """None when the collector takes telemetry and answers checks, else why it does not."""
        return self._not_ready

    def rebuild_limits(self) -> None:
        """Count all limits anew from the ledger, after something else than the loop has posted."""
        self._steps.rebuild_limits()

    def announce(self, addresses: Mapping[str, str]) -> None:
        """Write `addresses.json`: where the collector listens, and which process it is."""
        self.addresses.update(addresses)
        found = {
            **self.addresses,
            "pid": os.getpid(),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": version("spanledger"),
        }
        written = self.data / "addresses.json.new"
        written.write_text(json.dumps(found, indent=2) + "\n")
        written.replace(self.data / "addresses.json")

    def _open(self) -> None:
        config = self.config
        # The loop's threads hold the interpreter in steps of this length; at the default 5 ms an ack waits for several.
        sys.setswitchinterval(0.001)
        try:
            self._lock = FolderLock(self.data)
            note_location(self.data, config.settings.exporters.ledger.url)
            name = give_name(self.data)
            self.ledger = Ledger.open(config.ledger, journal=name)
            self.control = Control.open(config.control)
            self._opened.append("control")
            self.keys = Keys(self.control)
            self.senders = Senders(self.keys)
            self.prices = open_prices(self.control, self.data, config.settings.processors.prices.made())
            self.limits = Limits(
                self.control,
                self.prices,
                history=lambda: connect(config.ledger, damaged="leave out"),
                folder=self.data,
                counters=config.settings.extensions.counters.url,
                metrics=self.registry,
            )
            self._opened.append("limits")
            # Counters in memory are rebuilt below, all at once.
            given = config.settings.extensions
            self.limits.configure(given.limits, given.tiers, count=self.limits.waits)
            storage = config.settings.extensions.file_storage
            self.journal = Journal(
                self.data / "journal.sqlite",
                limit_bytes=storage.journal_limit,
                above=self.ledger.mark(),
                readers=(_HANDS_ON,) if config.settings.handed_on else (),
                name=name,
            )
            self._opened.append("journal")
        except LimitError as error:
            raise ConfigError(f"extensions.{error}") from error
        except OSError as error:
            reason = "it is a file" if self.data.is_file() else str(error)
            raise ConfigError(f"the data folder {self.data} cannot be used: {reason}") from error
        except (AlreadyRunning, LedgerError, ControlError, JournalError, NotABook) as error:
            raise ConfigError(str(error)) from error
        attribution = config.settings.processors.attribution.made()
        self._steps = steps = RealSteps(
            ledger=self.ledger,
            prices=self.prices,
            limits=self.limits,
            attribution=attribution,
            counting=config.settings.processors.count_once.made(),
            evidence=self.data / "evidence",
            senders=self.senders,
            settled=[row.made() for row in config.settings.processors.recognise.cached_input],
        )
        say_what_is_missing(self.ledger, EvidenceFiles(self.data / "evidence"), self.journal.mark())
        self.loop = Loop(self.journal, self.ledger, steps)
        replayed = self.loop.replay()
        if replayed:
            logger.warning("%d bodies that were acknowledged before the last end are now in the ledger", replayed)
        try:
            over_what_is_readable(self.ledger, steps.rebuild_limits)
        except (duckdb.Error, LedgerError) as error:
            raise ConfigError(f"the ledger {config.ledger} cannot be read: {str(error).splitlines()[0]}") from error
        self.limits.start()
        kept = config.settings.exporters.ledger
        self.maintenance = Maintenance(
            self.ledger,
            retention=None if kept.retention is None else timedelta(seconds=kept.retention),
            grace_seconds=kept.keep_replaced,
            behind=lambda: self.journal.unread > PIECE_BYTES,
        )
        self.maintenance.start()
        self._opened.append("maintenance")
        self.loop.start()
        self._opened.append("loop")
        self.price_desk = PriceDesk(
            self.control, self.data, self.prices, read=lambda: connect(config.ledger), post=self._post_beside_the_loop
        )
        self._price_timer = PriceTimer(self.price_desk)
        self._price_timer.start()
        self._opened.append("price timer")
        if (exporter := config.settings.exporters.otlp) is not None:
            self.pass_through = PassThrough(self.journal, _HANDS_ON, _way(exporter), signals=config.settings.handed_on)
            self.pass_through.start()

    def _post_beside_the_loop(self, entries: pa.Table) -> None:
        """Post entries that no telemetry brought, and count them."""
        with self.limits.in_step():
            self.ledger.post(entries, None)
            self.rebuild_limits()

    async def _listen(self) -> None:
        settings = self.config.settings
        otlp = settings.receivers.otlp
        self._accept = Accept(
            self.journal,
            # What the journal could never hold must not be told to come back later.
            body_limit=min(otlp.max_body_size, settings.extensions.file_storage.journal_limit),
            signals=tuple(settings.service.pipelines),
            in_flight_bytes=otlp.max_bytes_in_flight,
            key_id=self.senders.key_id,
        )
        self.registry.register(
            CollectorFigures(
                data=self.data,
                accept=self._accept,
                journal=self.journal,
                loop=self.loop,
                maintenance=self.maintenance,
                pass_through=self.pass_through,
            )
        )
        grpc, http = self.config.grpc, self.config.http
        bounds = HttpBounds(
            connections=within_files(http.max_connections),
            header_seconds=http.read_header_timeout,
            body_seconds=http.read_timeout,
            idle_seconds=http.idle_timeout,
            held_bytes=otlp.max_bytes_in_flight,
        )
        over_grpc = GrpcReceiver(
            self._accept,
            host=grpc.host,
            port=grpc.port,
            streams=grpc.max_concurrent_streams,
            handshake_seconds=grpc.handshake_timeout,
            idle_seconds=grpc.max_connection_idle,
            tls=_tls(grpc.tls),
        )
        over_http = HttpReceiver(self._accept, host=http.host, port=http.port, bounds=bounds, tls=_tls(http.tls))
        listening: dict[str, tuple[Grpc | Http, GrpcReceiver | HttpReceiver]] = {
            "grpc": (grpc, over_grpc),
            "http": (http, over_http),
        }
        for name, (listener, receiver) in listening.items():
            self._check_open(name, listener)
            try:
                await receiver.start()
            except TlsUnusable as error:
                raise ConfigError(f"receivers.otlp.protocols.{name}.tls.{error}") from error
            except OSError as error:
                key = f"receivers.otlp.protocols.{name}.endpoint"
                reason = "the port is in use" if error.errno in (errno.EADDRINUSE, None) else str(error)
                raise ConfigError(f"{key}: cannot listen on {listener.endpoint}: {reason}") from error
            self._receivers.append(receiver)
            shown = f"[{listener.host}]" if ":" in listener.host else listener.host
            self.addresses[name] = f"{shown}:{receiver.port}"

    def _check_open(self, name: str, listener: Grpc | Http) -> None:
        """Whoever reaches a port may write into the ledger: beyond this machine that must be meant."""
        shown_to_all = not is_loopback(listener.host) and not self.keys.any_made()
        asks_for_certificates = listener.tls is not None and listener.tls.client_ca_file is not None
        if shown_to_all and not asks_for_certificates and self.config.settings.receivers.otlp.without_keys == "loopback":
            raise ConfigError(
                f"receivers.otlp.protocols.{name}.endpoint: {listener.endpoint} is open to other machines and there is no key; "
                "make one with `spanledger keys create`, set tls.client_ca_file, or say receivers.otlp.without_keys: everywhere"
            )

    def _close(self, deadline: float) -> None:
        opened, self._opened = self._opened, []
        if "loop" in opened:
            self._within(deadline, "posting", lambda: self.loop.stop(_left(deadline)))
        if "price timer" in opened:
            self._within(deadline, "prices", self._price_timer.stop)
        if "maintenance" in opened:
            self._within(deadline, "the upkeep of the ledger", self.maintenance.stop)
        if self.pass_through is not None:
            self._within(deadline, "handing on", self.pass_through.stop)
            self.pass_through = None
        if self.own_telemetry is not None:
            self._within(deadline, "own telemetry", self.own_telemetry.stop)
            self.own_telemetry = None
        if "journal" in opened:
            self.journal.close()
        if "limits" in opened:
            self._within(deadline, "limits", self.limits.close)
        if "control" in opened:
            self.control.close()
        if self._accept is not None:
            self._accept.stop()
        if self._lock is not None:
            (self.data / "addresses.json").unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _within(self, deadline: float, what: str, stop: Callable[[], None]) -> None:
        """Stop something; when it has not ended by the deadline and a little, go on without it."""
        ending = threading.Thread(target=stop, name=f"spanledger-stop-{what}", daemon=True)
        ending.start()
        ending.join(_left(deadline) + _LEEWAY_SECONDS)
        if ending.is_alive():
            self.unfinished.append(what)
            logger.warning("%s did not end within service.shutdown_grace and is cut off; nothing acknowledged is lost", what)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _way(exporter: OtlpExporter) -> Deliver:
    headers, timeout, ca = exporter.headers, exporter.timeout, exporter.tls.ca_file
    try:
        if exporter.protocol == "grpc":
            insecure = exporter.tls.insecure
            return OverGrpc(exporter.endpoint, headers=headers, timeout_seconds=timeout, insecure=insecure, ca_file=ca)
        return OverHttp(exporter.endpoint, headers=headers, timeout_seconds=timeout, ca_file=ca)
    except OSError as error:
        raise ConfigError(f"exporters.otlp.tls.ca_file: {ca} cannot be used: {error}") from error


def _tls(files: Tls | None) -> TlsFiles | None:
    if files is None:
        return None
    client_ca = None if files.client_ca_file is None else Path(files.client_ca_file)
    return TlsFiles(cert=Path(files.cert_file), key=Path(files.key_file), client_ca=client_ca)
