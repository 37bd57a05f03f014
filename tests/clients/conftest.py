"""Runs in an environment that has the clients (`make test-clients`); elsewhere nothing here is collected."""

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanledger.cli.provider_stand_in import StandIn, start
from spanledger.instrumentation import instrument, uninstrument
from tests.clients.styles import Spans, Style, check

CLIENTS = (
    "groq", "together", "fireworks", "cerebras", "google.genai", "mistralai", "cohere", "ollama", "botocore", "xai_sdk",
    "voyageai", "litellm",
)  # fmt: skip


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


# The development environment has boto3, with which its S3 server comes, but none of the others; the clients' has no dashboard.
collect_ignore_glob = [] if any(map(_installed, CLIENTS)) and not _installed("streamlit") else ["test_*.py"]


#: What the clients themselves do on the way; a warning of any other kind is still an error.
THEIRS = (
    "ignore::DeprecationWarning",
    "ignore::UserWarning",
    "ignore::FutureWarning",
    "ignore:unclosed:ResourceWarning",
    "ignore:The generate_images",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "clients":
            for filter_ in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(filter_))


@pytest.fixture(scope="session")
def _exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture(scope="session")
def provider() -> Iterator[StandIn]:
    with start() as stand_in:
        yield stand_in


@pytest.fixture
def url(provider: StandIn) -> str:
    return provider.url


@pytest.fixture(scope="session")
def _one_certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every client that is made reads all certificates there are, for 40 ms; here nothing is encrypted."""
    certifi = pytest.importorskip("certifi")
    first = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    file = tmp_path_factory.mktemp("certificate") / "one.pem"
    file.write_text(first[0] + first[1] + "\n")
    return str(file)


@pytest.fixture(autouse=True)
def _clean_environ(monkeypatch: pytest.MonkeyPatch, _one_certificate: str) -> None:
    for name in list(os.environ):
        if name.startswith(("SPANLEDGER_", "OTEL_", "AWS_", "GOOGLE_", "GEMINI_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SPANLEDGER_RAISE_INTERNAL_ERRORS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, _one_certificate)


@pytest.fixture
def spans(_exporter: InMemorySpanExporter) -> Iterator[Spans]:
    """Metering is on, and what it emits is gathered."""
    _exporter.clear()
    instrument()
    yield Spans(_exporter)
    uninstrument()
    _exporter.clear()


@pytest.fixture
def metered(_exporter: InMemorySpanExporter, url: str) -> Iterator[Callable[[Style], None]]:
    """Runs a style without metering and with it: nothing may differ but the one span."""
    yield lambda style: check(style, url, Spans(_exporter))
    uninstrument()
    _exporter.clear()
