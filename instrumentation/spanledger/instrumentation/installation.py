"""Puts metering into the clients that there are and will be, and takes it out again."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation import lazy, listening, metering, patching
from spanledger.instrumentation.engine import ENGINE
from spanledger.instrumentation.provider import Hear, Provider, RequestLayer
from spanledger.instrumentation.providers import PROVIDERS
from spanledger.instrumentation.refusals import reveal
from spanledger.instrumentation.servers import ENDS
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.silence import silence

if TYPE_CHECKING:
    from spanledger.instrumentation.content import Redact
    from spanledger.instrumentation.engine import OnLimit

METERS: Mapping[str, Callable[[Provider, Any], Any]] = {
    "sync": metering.meter_sync,
    "async": metering.meter_async,
    "generator": lazy.meter_generator,
    "async_generator": lazy.meter_async_generator,
    "context": lazy.meter_context,
    "async_context": lazy.meter_async_context,
}

LISTENERS: Mapping[str, Callable[[Hear, Any], Any]] = {
    "listen": listening.listen,
    "listen_async": listening.listen_async,
    "listen_connected": listening.listen_connected,
}


def install(settings: Settings, on_limit: "OnLimit | None" = None, redact: "Redact | None" = None) -> None:
    """Meter every known client, imported or not; a second time only takes over what it is given."""
    ENGINE.start(settings, on_limit, redact)
    patching.install(_targets(PROVIDERS))


def remove() -> None:
    """Leave the clients as they were found, and send what has been metered."""
    patching.remove()
    for layer in (*(place for provider in PROVIDERS for place in provider.places()), *(layer for layer, _ in ENDS)):
        module = sys.modules.get(layer.module)
        if module is not None:
            patching.restore(module, layer)
    ENGINE.stop()


def _targets(providers: tuple[Provider, ...]) -> patching.Targets:
    targets: patching.Targets = {}
    for provider in providers:
        for layer in provider.layers:
            targets.setdefault(layer.module, []).append((layer, _wrap(provider, layer)))
        for layer in provider.silence:
            targets.setdefault(layer.module, []).append((layer, silence(layer)))
        for layer in provider.reveals:
            targets.setdefault(layer.module, []).append((layer, reveal))
    for layer, wrap in ENDS:
        targets.setdefault(layer.module, []).append((layer, wrap))
    return targets


def _wrap(provider: Provider, layer: RequestLayer) -> patching.Wrap:
    if layer.hear is not None:
        return functools.partial(LISTENERS[layer.style], layer.hear)
    of = provider if layer.ask is None else dataclasses.replace(provider, ask=layer.ask)
    return functools.partial(METERS[layer.style], of)
