"""What falls due by the clock: a day's share of fixed monthly costs, and adjustments of calls that were reversed since."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from spanledger.collector.pricing.desk import PriceDesk

logger = logging.getLogger(__name__)

#: The clock is read this often, as a machine that slept does not notice on a timer.
_TICK_SECONDS = 20.0


class PriceTimer:
    """Posts what is due, at start and when an hour begins, in a thread of its own.

    What is due is what the rules say less what is in the ledger, so a look that was missed is made up for by the next.
    """

    def __init__(
        self, desk: PriceDesk, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC), tick_seconds: float = _TICK_SECONDS
    ) -> None:
        self._desk, self._clock, self._tick = desk, clock, tick_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spanledger-prices", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def stop(self) -> None:
        """No more; returns when nothing is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        looked: datetime | None = None
        while not self._stopping.is_set():
            hour = self._clock().replace(minute=0, second=0, microsecond=0)
            if looked != hour:
                looked = hour
                self._look()
            self._stopping.wait(self._tick)

    def _look(self) -> None:
        try:
            if posted := self._desk.post_monthly():
                logger.info("%d entries of fixed monthly costs are posted", posted)
            if back := self._desk.take_back().changed:
                logger.info("the adjustments of %d calls that turned out to be none are taken back", back)
        except Exception:
            # Nothing is lost: what is due stays due, and the next hour finds it again.
            logger.exception("what is due of prices could not be posted and is tried again within the hour")
