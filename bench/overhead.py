"""What metering adds to a call through the OpenAI SDK, against a bare OpenTelemetry SDK span with the same attributes.

    python bench/overhead.py [--rounds N] [--calls N] [--peers]

The provider is a transport inside the HTTP client that answers at once with what the stand-in answered before, so that neither a
socket nor another process is in the figures. The ways are measured in turn, round by round, so that a busy machine disturbs all
alike: nothing; the floor (a span made by hand around the call, with the attributes that metering puts on it);
`spanledger.auto`; with `--peers` also the other instrumentations that are installed. CPU time of the calling thread per call;
of each way the lowest quartile of all rounds counts. The others are not in the lock file, and some refuse the newest client when
they are installed with their dependencies; an environment of its own has them all:

    uv venv /tmp/peers && uv pip install --python /tmp/peers/bin/python openai httpx grpcio opentelemetry-sdk logfire "wrapt<2" \
        opentelemetry-exporter-otlp-proto-http opentelemetry-exporter-otlp openinference-instrumentation-openai \
        opentelemetry-instrumentation-openai opentelemetry-instrumentation-genai-openai schedule xmltodict
    uv pip install --python /tmp/peers/bin/python --no-deps openlit opentelemetry-instrumentation-openai-v2==2.2b0
    PYTHONPATH=instrumentation:collector /tmp/peers/bin/python bench/overhead.py --peers
"""

import argparse
import contextlib
import gc
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from spanledger.cli.provider_stand_in import start
from spanledger.instrumentation import instrument, uninstrument

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[input=100 cache_read=60 output=30]]"}]}

Make = Callable[[openai.OpenAI], Any]


class Nowhere(SpanExporter):
    """Takes the spans and lets them go: sending is the same whoever made them."""

    def __init__(self) -> None:
        self.attributes: list[dict[str, Any]] = []
        self.keep = False

    def export(self, spans: Any) -> SpanExportResult:
        if self.keep:
            self.attributes.extend(dict(span.attributes or {}) for span in spans)
        return SpanExportResult.SUCCESS


class Replay(httpx2.BaseTransport):
    """Answers at once: with the stream where one is asked for, else with the document."""

    def __init__(self, answers: dict[str, httpx2.Response]) -> None:
        self.answers = answers

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        answer = self.answers["streamed" if b'"stream":true' in request.content else "plain"]
        stream = Pieces(answer.content.split(b"\n\n")) if "event-stream" in answer.headers["content-type"] else None
        content = None if stream else answer.content
        return httpx2.Response(200, headers={"content-type": answer.headers["content-type"]}, content=content, stream=stream)


class Pieces(httpx2.SyncByteStream):
    """A body that comes an event at a time."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            yield piece + b"\n\n"


def recorded(url: str, make: "Make") -> httpx2.Response:
    """What the stand-in answers to this call."""
    kept: list[httpx2.Response] = []

    def keep(response: httpx2.Response) -> None:
        response.read()
        kept.append(response)

    http = httpx2.Client(event_hooks={"response": [keep]})
    with openai.OpenAI(base_url=url + "/v1", api_key="any", http_client=http) as client:
        make(client)
    return kept[0]


def plain(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(**ASK)


def streamed(client: openai.OpenAI) -> Any:
    for _ in client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}):
        pass


def floor(make: Make, attributes: dict[str, Any], client: openai.OpenAI) -> Any:
    """The least that a span with these attributes costs: a part of them at the start, the rest at the end."""
    tracer = trace.get_tracer("floor")
    at_start = {
        k: v for k, v in attributes.items() if not k.startswith(("gen_ai.response", "gen_ai.usage", "openai", "spanledger"))
    }
    at_end = {k: v for k, v in attributes.items() if k not in at_start}
    with tracer.start_as_current_span("chat gpt-4o", kind=trace.SpanKind.CLIENT, attributes=at_start) as span:
        result = make(client)
        span.set_attributes(at_end)
    return result


def cpu_seconds(run: Callable[[], Any], calls: int) -> float:
    gc.collect()
    gc.disable()
    began = time.thread_time()
    for _ in range(calls):
        run()
    spent = time.thread_time() - began
    gc.enable()
    return spent / calls


Peer = tuple[Callable[[], Any], Callable[[], Any]]
"""How another instrumentation is put in, and taken out again."""


def _instrumentor(module: str, kind: str = "OpenAIInstrumentor", **more: Any) -> Callable[[], Peer]:
    def make() -> Peer:
        peer = getattr(importlib.import_module(module), kind)()
        return lambda: peer.instrument(skip_dep_check=True, **more), peer.uninstrument

    return make


def _openlit() -> Peer:
    from openlit import OpenlitConfig

    # What its `init` would set, without the instrumentations of HTTP clients that it also puts in: a favour to it.
    OpenlitConfig.reset_to_defaults()
    OpenlitConfig.disable_metrics, OpenlitConfig.disable_events, OpenlitConfig.capture_message_content = True, True, False
    return _instrumentor("openlit.instrumentation.openai", disable_metrics=True, capture_message_content=False)()


def _logfire() -> Peer:
    import logfire

    own = logfire.configure(
        local=True, send_to_logfire=False, console=False, inspect_arguments=False,
        additional_span_processors=[BatchSpanProcessor(Nowhere(), max_queue_size=100_000)],
    )  # fmt: skip
    at_work = contextlib.ExitStack()
    return lambda: at_work.enter_context(own.instrument_openai(openai.OpenAI)), at_work.close


#: Other instrumentations of the OpenAI SDK, where they are installed. None of them records content here.
PEERS: dict[str, Callable[[], Peer]] = {
    "openai-v2": _instrumentor("opentelemetry.instrumentation.openai_v2"),
    "genai-openai": _instrumentor("opentelemetry.instrumentation.genai.openai"),
    "OpenInference": _instrumentor("openinference.instrumentation.openai"),
    "OpenLIT": _openlit,
    "OpenLLMetry": _instrumentor("opentelemetry.instrumentation.openai"),
    "Logfire": _logfire,
}


def _classes() -> list[type]:
    modules = [module for name, module in sys.modules.items() if name == "openai" or name.startswith("openai.")]
    return list({value for module in modules for value in vars(module).values() if isinstance(value, type)})


def leaving_nothing(peer: Peer) -> Peer:
    """The same, with every method of the client put back: some cannot be taken out again, and would be measured with the next."""
    put_in, take_out = peer
    parts = ("openai.resources", "openai._base_client", "openai._client", "openai._streaming")
    before = {kind: dict(vars(kind)) for kind in _classes() if kind.__module__.startswith(parts)}

    def take_all_out() -> None:
        take_out()
        for kind, was in before.items():
            for name, now in list(vars(kind).items()):
                if name not in was and callable(now):
                    delattr(kind, name)
                elif callable(now) and now is not was[name]:
                    setattr(kind, name, was[name])

    return put_in, take_all_out


def installed() -> dict[str, Peer]:
    """Those that can be imported."""
    found: dict[str, Peer] = {}
    for name, make in PEERS.items():
        try:
            found[name] = leaving_nothing(make())
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def spans_made(client: openai.OpenAI, make: Make, sink: Nowhere, provider: TracerProvider, peers: dict[str, Peer]) -> None:
    """Say how many spans each makes of one call, so that one that has stopped working is not taken for a quick one."""
    for name, (put_in, take_out) in peers.items():
        put_in()
        provider.force_flush()
        sink.keep = True
        make(client)
        provider.force_flush()
        sink.keep = False
        take_out()
        print(f"    {name}: spans a call: {len(sink.attributes) or 'in a provider of its own'}")
        sink.attributes.clear()


def compare(
    client: openai.OpenAI, make: Make, attributes: dict[str, Any], rounds: int, calls: int, peers: dict[str, Peer]
) -> dict[str, list[float]]:
    """CPU seconds of a call each way, a figure a round."""
    times: dict[str, list[float]] = {way: [] for way in ("nothing", "floor", "spanledger", *peers)}
    cpu_seconds(lambda: make(client), calls)
    gc.collect()
    gc.freeze()  # all that was imported: to look through it before each measurement would take most of the time
    for _ in range(rounds):
        times["nothing"].append(cpu_seconds(lambda: make(client), calls))
        times["floor"].append(cpu_seconds(lambda: floor(make, attributes, client), calls))
        instrument()
        times["spanledger"].append(cpu_seconds(lambda: make(client), calls))
        uninstrument()
        for name, (put_in, take_out) in peers.items():
            put_in()
            times[name].append(cpu_seconds(lambda: make(client), calls))
            take_out()
    return times


def measure(
    client: openai.OpenAI, sink: Nowhere, provider: TracerProvider, rounds: int, calls: int, peers: dict[str, Peer]
) -> None:
    for name, make in (("plain", plain), ("streamed", streamed)):
        instrument()
        sink.keep = True
        make(client)
        provider.force_flush()
        sink.keep = False
        attributes = sink.attributes.pop()
        uninstrument()
        times = compare(client, make, attributes, rounds, calls, peers)
        low = {way: statistics.quantiles(figures, n=4)[0] for way, figures in times.items()}
        bare = low["nothing"]
        added = {way: figure - bare for way, figure in low.items()}
        print(f"{name}: baseline {bare * 1e6:.0f} µs, {len(attributes)} attributes")
        for way, figure in added.items():
            if way != "nothing":
                print(f"    {way:14} +{figure * 1e6:6.1f} µs   {figure / added['floor']:.2f} × floor", flush=True)
        spans_made(client, make, sink, provider, peers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--peers", action="store_true")
    asked = parser.parse_args()
    sink = Nowhere()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(sink, max_queue_size=100_000))
    trace.set_tracer_provider(provider)
    with start() as stand_in:
        answers = {make.__name__: recorded(stand_in.url, make) for make in (plain, streamed)}
    transport = Replay(answers)
    with openai.OpenAI(base_url="http://127.0.0.1:1/v1", api_key="any", http_client=httpx2.Client(transport=transport)) as client:
        measure(client, sink, provider, asked.rounds, asked.calls, installed() if asked.peers else {})


if __name__ == "__main__":
    main()
