"""Asks the guard for a call before it is sent; for a refused one the application's hook may choose another model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from spanledger.instrumentation import harmless
from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.engine import ENGINE
from spanledger.instrumentation.errors import LimitExceeded

if TYPE_CHECKING:
    from spanledger.instrumentation.guard import Guard, Hold


def checked(guard: "Guard", asked: Asked, names: Mapping[str, str]) -> "Hold | None":
    """The hold that a passed check left, if it left one. May raise LimitExceeded, and nothing else."""
    try:
        try:
            return guard.check(asked, names)
        except LimitExceeded as refusal:
            if not _instead(refusal, asked):
                raise
        return guard.check(asked, names)
    except LimitExceeded:
        raise
    except Exception as bug:
        harmless.drop(bug, "asking the guard")
        return None


async def checked_async(guard: "Guard", asked: Asked, names: Mapping[str, str]) -> "Hold | None":
    """The same without blocking the event loop."""
    try:
        try:
            return await guard.check_async(asked, names)
        except LimitExceeded as refusal:
            if not _instead(refusal, asked):
                raise
        return await guard.check_async(asked, names)
    except LimitExceeded:
        raise
    except Exception as bug:
        harmless.drop(bug, "asking the guard")
        return None


def _instead(refusal: LimitExceeded, asked: Asked) -> bool:
    """Whether the application's hook named another model for a refused call; that one is checked as well."""
    if ENGINE.on_limit is None or asked.swap is None:
        return False
    try:
        model = ENGINE.on_limit(refusal, asked.model)
    except Exception:
        # The application's own code failed: the limit stands, and is what the caller hears of.
        harmless.logger.exception("the on_limit hook failed; the call is refused")
        return False
    if not isinstance(model, str) or model == asked.model:
        return False
    asked.swap(model)
    asked.attributes["spanledger.model.instead_of"] = asked.model or ""
    asked.model = model
    return True
