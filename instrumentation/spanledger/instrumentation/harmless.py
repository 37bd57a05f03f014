"""Keeps our bugs from the application: they are logged once per place and dropped, the call goes on."""

import logging
import os

logger = logging.getLogger("spanledger.instrumentation")

_told: set[tuple[str, type[BaseException]]] = set()


def drop(error: Exception, doing: str) -> None:
    """Log a bug of ours met while `doing`, once per place and kind; raises it when SPANLEDGER_RAISE_INTERNAL_ERRORS is set.

    To be called from an `except Exception` around our own work only, never around the application's.
    """
    if os.environ.get("SPANLEDGER_RAISE_INTERNAL_ERRORS"):
        raise error
    key = (doing, type(error))
    if key in _told:
        return
    _told.add(key)
    logger.warning("metering failed while %s; the call itself is unaffected", doing, exc_info=error)
