"""What metering adds to a call through the OpenAI SDK, against a bare OpenTelemetry SDK span with the same attributes.

    python bench/overhead.py [--rounds N] [--calls N]

The provider is a stand-in in a process of its own that answers at once. Four ways are measured in turn, round by round, so
that a busy machine disturbs all alike: nothing; the floor (a span made by hand around the call, with the attributes that
metering puts on it); and `spanledger.auto`. CPU time of this process per call; of all rounds the median difference counts.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

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
    began = time.process_time()
    for _ in range(calls):
        run()
    spent = time.process_time() - began
    gc.enable()
    return spent / calls


def compare(client: openai.OpenAI, make: Make, attributes: dict[str, Any], rounds: int, calls: int) -> dict[str, list[float]]:
    """CPU seconds of a call each way, a figure a round."""
    times: dict[str, list[float]] = {"nothing": [], "floor": [], "spanledger": []}
    cpu_seconds(lambda: make(client), calls)
    for _ in range(rounds):
        times["nothing"].append(cpu_seconds(lambda: make(client), calls))
        times["floor"].append(cpu_seconds(lambda: floor(make, attributes, client), calls))
        instrument()
        times["spanledger"].append(cpu_seconds(lambda: make(client), calls))
        uninstrument()
    return times


def measure(client: openai.OpenAI, sink: Nowhere, provider: TracerProvider, rounds: int, calls: int) -> None:
    for name, make in (("plain", plain), ("streamed", streamed)):
        instrument()
        sink.keep = True
        make(client)
        provider.force_flush()
        sink.keep = False
        attributes = sink.attributes.pop()
        uninstrument()
        times = compare(client, make, attributes, rounds, calls)
        bare = statistics.median(times["nothing"])
        added = {way: statistics.median(a - b for a, b in zip(times[way], times["nothing"], strict=True)) for way in times}
        print(
            f"{name:9} baseline {bare * 1e6:7.0f} µs   floor +{added['floor'] * 1e6:6.1f} µs   "
            f"spanledger +{added['spanledger'] * 1e6:6.1f} µs   = {added['spanledger'] / added['floor']:.2f} × floor   "
            f"({len(attributes)} attributes)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=60)
    asked = parser.parse_args()
    sink = Nowhere()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(sink, max_queue_size=100_000))
    trace.set_tracer_provider(provider)
    command = [sys.executable, "-m", "spanledger.cli.provider_stand_in"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stand_in:
        assert stand_in.stdout is not None
        assert stand_in.stdin is not None
        url = stand_in.stdout.readline().strip()
        with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client:
            measure(client, sink, provider, asked.rounds, asked.calls)
        stand_in.stdin.close()


if __name__ == "__main__":
    main()
