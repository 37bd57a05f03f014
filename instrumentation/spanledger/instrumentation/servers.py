"""Servers and workers that end without any exit hook: what was metered is sent before they do.

uvicorn stops serving on SIGTERM, restores the handlers it found and raises the signal again. The workers of Celery's pool of
processes end by `os._exit`.
"""

from collections.abc import Callable
from typing import Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.engine import ENGINE
from spanledger.instrumentation.patching import Wrap
from spanledger.instrumentation.provider import RequestLayer


def sending_after(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same shutdown, and then the sending of what is held; at most as long as an exit waits for it."""

    async def shutdown(*args: Any, **kwargs: Any) -> Any:
        try:
            return await original(*args, **kwargs)
        finally:
            try:
                import asyncio

                await asyncio.to_thread(ENGINE.flush)
            except Exception as bug:
                harmless.drop(bug, "sending what is held when a server stops")

    return shutdown


def sending_before(original: Callable[..., Any]) -> Callable[..., Any]:
    """The sending of what is held, and then the same end of the process."""

    def end(*args: Any, **kwargs: Any) -> Any:
        try:
            ENGINE.flush()
        except Exception as bug:
            harmless.drop(bug, "sending what is held when a worker stops")
        return original(*args, **kwargs)

    return end


#: Where a server's requests are answered and its application is shut down; where a worker is about to end.
ENDS: tuple[tuple[RequestLayer, Wrap], ...] = (
    (RequestLayer(module="uvicorn.server", owner="Server", method="shutdown", style="async"), sending_after),
    (RequestLayer(module="billiard.pool", owner="Worker", method="_do_exit", style="sync"), sending_before),
)
