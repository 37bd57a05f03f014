"""What falls due by the clock: a day's share of fixed monthly costs, adjustments of calls that were reversed since, and a look at
prices that another collector has changed."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from spanledger.collector.pricing.desk import PriceDesk
from spanledger.ledger.opening import LedgerError

logger = logging.getLogger(__name__)

#: The clock is read this often, as a machine that slept does not notice on a timer; and so late at most is in force what others
#: have changed.
_TICK_SECONDS = 1.0


class PriceTimer:
    """Posts what is due, at start and when an hour begins, and follows changes of prices, in a thread of its own.

    What is due is what the rules say less what is in the ledger, so a look that was missed is made up for by the next.
    """

    def __init__(
        self, desk: PriceDesk, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC), tick_seconds: float = _TICK_SECONDS
    ) -> None:
        self._desk, self._clock, self._tick = desk, clock, tick_seconds
        self._stopping = threading.Event()
        self._away = ""
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
            self._follow()
            self._stopping.wait(self._tick)

    def _follow(self) -> None:
        try:
            self._desk.follow()
            self._away = ""
        except Exception as error:
            if (why := f"{type(error).__name__}: {error}") != self._away:  # once a cause, not once a second
                logger.exception("what others may have changed of prices cannot be looked up and is tried again")
            self._away = why

    def _look(self) -> None:
        try:
            if posted := self._desk.post_monthly():
                logger.info("%d entries of fixed monthly costs are posted", posted)
            if back := self._desk.take_back().changed:
                logger.info("the adjustments of %d calls that turned out to be none are taken back", back)
        except LedgerError as error:
            logger.error("what is due of prices could not be posted and is tried again within the hour: %s", error)
        except Exception:
            # Nothing is lost: what is due stays due, and the next hour finds it again.
            logger.exception("what is due of prices could not be posted and is tried again within the hour")
