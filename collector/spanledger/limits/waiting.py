"""Checks that wait for holds to settle, in whichever event loop they are."""

import asyncio
from collections.abc import Awaitable, Callable

from spanledger.limits.check import Verdict

#: Holds that other collectors release wake nobody here; so often is it looked for them.
LOOK_SECONDS = 0.05


class Waiting:
    """Wakes all that wait when something was released; each asks again for itself, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def wake(self) -> None:
        """Something was released. From any thread."""
        for event, loop in list(self._waiting.items()):
            loop.call_soon_threadsafe(event.set)

    async def until(
        self, ask: Callable[[], Awaitable[tuple[Verdict, bool]]], verdict: Verdict, *, seconds: float, look: bool
    ) -> Verdict:
        """Ask again until it passes, cannot pass any more, or the time is up. `look`: also when nobody wakes us."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        wake = asyncio.Event()
        self._waiting[wake] = loop
        try:
            while (left := end - loop.time()) > 0:
                wake.clear()
                # Something may have been released between the last answer and now.
                verdict, waits = await ask()
                if not waits:
                    break
                try:
                    await asyncio.wait_for(wake.wait(), min(left, LOOK_SECONDS) if look else left)
                except TimeoutError:
                    continue
        finally:
            del self._waiting[wake]
        return verdict
