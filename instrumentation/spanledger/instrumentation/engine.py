"""What is one in a process: whether metering is on, and where spans and checks go."""

import atexit
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.call import Call, forget_open_calls
from spanledger.instrumentation.errors import LimitExceeded
from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.tracing import Tracing

if TYPE_CHECKING:
    from spanledger.instrumentation.content import Redact
    from spanledger.instrumentation.guard import Guard

OnLimit = Callable[[LimitExceeded, str | None], str | None]


class Engine:
    """One per process: what was read from the environment, and where spans and checks go."""

    def __init__(self) -> None:
        self.active = False
        self.settings = Settings()
        self.tracing = Tracing()
        self.guard: Guard | None = None
        self.on_limit: OnLimit | None = None
        self._follows_processes = False

    def start(self, settings: Settings, on_limit: "OnLimit | None" = None, redact: "Redact | None" = None) -> None:
        """Meter from now on; a second time only takes over what it is given."""
        self.on_limit = on_limit
        before, self.settings = self.settings, settings
        self.tracing.disabled = settings.sdk_disabled
        self.tracing.captures = settings.captures
        self.tracing.redact = redact
        self.tracing.keeps_sampled_out = settings.keep_sampled_out
        if settings != before or not self.active:
            former, self.guard = self.guard, _guard(settings)
            if former is not None:
                former.close()
        self.active = True
        atexit.unregister(self._exit)
        atexit.register(self._exit)

    def stop(self) -> None:
        """Meter nothing more, and send what is held."""
        self.active = False
        self.tracing.flush()
        if self.guard is not None:
            self.guard.close()
            self.guard = None

    def flush(self) -> None:
        """Send what is held, and go on."""
        self.tracing.flush()
        if self.guard is not None:
            self.guard.flush()

    def finish(self) -> None:
        """The process ends: nothing that was metered is lost."""
        self.tracing.finish()
        self._exit()

    def _exit(self) -> None:
        # Exit hooks run backwards: the open calls have been ended by now, and have told the guard.
        if self.guard is not None:
            self.guard.close()

    def before_fork(self) -> None:
        self.tracing.before_fork()
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._follows_processes:
            self._follows_processes = True
            # A process that multiprocessing forked ends by os._exit: exit hooks do not run there, its finalizers do.
            util.register_after_fork(self, lambda engine: util.Finalize(None, engine.finish, exitpriority=100))

    def after_fork_here(self) -> None:
        self.tracing.after_fork()

    def after_fork(self) -> None:
        forget_open_calls()
        self.tracing.forget()
        if self.guard is not None:
            self.guard.forget()

    def ask(self, provider: Provider, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked | None:
        """What the request asks; None when it is not to be metered."""
        if not self.active:
            return None
        try:
            asked = provider.ask(client, args, kwargs, self.settings)
            if asked is not None and suppressed():
                # Nothing is to be told; a limit holds all the same.
                if self.guard is None or asked.harvest is not None:
                    return None
                asked.untold, asked.add = True, None
            return asked
        except Exception as bug:
            harmless.drop(bug, f"reading a request of {provider.name}")
            return None

    def begin(self, asked: Asked, names: Mapping[str, str], hold: Any) -> Call | None:
        """The call with its span begun; None when that failed or telemetry is off."""
        # Each holds the request that it belongs to: a ring, which only the garbage collector could free.
        add, asked.add, asked.swap = asked.add, None, None
        if self.settings.sdk_disabled and hold is None:
            return None
        call = None
        try:
            call = Call(self.tracing, asked, names, hold, self.guard)
            if add is not None:
                add()
            return call
        except Exception as bug:
            if call is not None:
                call.end()
            harmless.drop(bug, "starting a call")
            return None


ENGINE = Engine()


def _guard(settings: Settings) -> "Guard | None":
    if not settings.guard:
        return None
    from spanledger.instrumentation.guard import Guard

    return Guard(settings)


def suppressed() -> bool:
    """Whether the application wants no telemetry of what it does now."""
    import opentelemetry.context as context

    now = context.get_current()
    return bool(now and (now.get(context._SUPPRESS_INSTRUMENTATION_KEY) or now.get("suppress_instrumentation")))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=ENGINE.before_fork, after_in_parent=ENGINE.after_fork_here, after_in_child=ENGINE.after_fork)
