"""Other instrumentations of the same clients, as their users install them; and out again, whole."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pkgutil import walk_packages
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _instrumentor(module: str, kind: str) -> Callable[[InMemorySpanExporter], Any]:
    def put_in(_: InMemorySpanExporter) -> Any:
        instrumentor = getattr(pytest.importorskip(module), kind)()
        instrumentor.instrument(tracer_provider=trace.get_tracer_provider(), skip_dep_check=True)
        return instrumentor.uninstrument

    return put_in


def _openlit(_: InMemorySpanExporter) -> Any:
    pytest.importorskip("openlit").OpenlitConfig.reset_to_defaults()
    instrumentor = pytest.importorskip("openlit.instrumentation.openai").OpenAIInstrumentor()
    instrumentor.instrument(skip_dep_check=True, disable_metrics=True, capture_message_content=False)
    return instrumentor.uninstrument


def _logfire(exporter: InMemorySpanExporter) -> Any:
    import openai

    own = pytest.importorskip("logfire").configure(
        local=True, send_to_logfire=False, console=False, inspect_arguments=False,
        additional_span_processors=[SimpleSpanProcessor(exporter)],
    )  # fmt: skip
    both = own.instrument_openai([openai.OpenAI, openai.AsyncOpenAI])
    return lambda: both.__enter__() and None


OPENAI: dict[str, Callable[[InMemorySpanExporter], Any]] = {
    "OpenInference": _instrumentor("openinference.instrumentation.openai", "OpenAIInstrumentor"),
    "OpenLLMetry": _instrumentor("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
    "genai-openai": _instrumentor("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    "openai-v2": _instrumentor("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
    "OpenLIT": _openlit,
    "Logfire": _logfire,
}
#: These two cannot be installed beside the newest client or the others, and are run by hand (bench/overhead.py says how).
for _name, _package in (("openai-v2", "opentelemetry.instrumentation.openai_v2"), ("OpenLIT", "openlit")):
    if not installed(_package):
        del OPENAI[_name]

ANTHROPIC: dict[str, Callable[[InMemorySpanExporter], Any]] = {
    "OpenInference": _instrumentor("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
    "OpenLLMetry": _instrumentor("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
}
BOTOCORE: dict[str, Callable[[InMemorySpanExporter], Any]] = {
    "botocore": _instrumentor("opentelemetry.instrumentation.botocore", "BotocoreInstrumentor"),
}


def _classes(package: str) -> list[type]:
    # Those that the client would import only when they are used: else what is left behind in them would be taken for theirs.
    if installed(f"{package}.resources"):
        resources = import_module(f"{package}.resources")
        for module in walk_packages(resources.__path__, f"{resources.__name__}."):
            import_module(module.name)
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == package]
    return list({value for module in modules for value in list(vars(module).values()) if isinstance(value, type)})


@contextmanager
def left_as_found(package: str) -> Iterator[None]:
    """Every method of the package's classes is put back: some of the others cannot be taken out, or leave things behind."""
    before = {kind: dict(vars(kind)) for kind in _classes(package) if kind.__module__.partition(".")[0] == package}
    try:
        yield
    finally:
        for kind, was in before.items():
            for name, now in list(vars(kind).items()):
                if name not in was and (callable(now) or name.startswith("_is_instrumented")):
                    delattr(kind, name)
                elif callable(now) and now is not was[name]:
                    setattr(kind, name, was[name])
