"""What it takes to decode, recognise and count once: CPU µs a span by step, on a mix of all samples and on a web service's spans.

Batches are as large as the loop makes them, and a quarter of that: what each takes tells what a batch costs by itself
from what each span adds. Files of evidence are written as in the collector; the mix is measured once memory of evidence is full.

.venv/bin/python bench/recognise.py [--spans 160000] [--web 50000] [--million] [--functions recognise]
"""

import argparse
import gc
import json
import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import wraps
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import FunctionType
from typing import Any

import polars as pl
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from spanledger.cli.libraries import prepare, started

prepare()

from spanledger.collector.count import count_once  # noqa: E402
from spanledger.collector.decode import decode, json_form  # noqa: E402
from spanledger.collector.decode.wellformed import check  # noqa: E402
from spanledger.collector.reading import FITTING_RECORDS  # noqa: E402
from spanledger.collector.received import Received  # noqa: E402
from spanledger.collector.recognise import recognise  # noqa: E402
from spanledger.collector.recognise.attribution import Attribution  # noqa: E402
from spanledger.collector.recognise.content import LONGEST_UNREAD, read_by  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "tests" / "dialects" / "samples"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
#: Spans in a request, and requests in a batch.
REQUEST = 512
FULL = FITTING_RECORDS // REQUEST
#: Decoding is `check`, the parser's pass over a request before it is acknowledged, and `decode`, which then only finds where
#: fields stand (docs/decisions, "dialects-decoding-is-the-parsers-pass-and-what-follows").
_STEPS = ("check", "decode", "recognise", "count once")
_IDS = (
    "gen_ai.response.id", "ai.response.id", "anthropic.request.id", "request_id", "litellm.call_id", "llm.openai.id",
    "llm.anthropic.id",
)  # fmt: skip


def _traces() -> list[list[tuple[bytes, bytes, bytes]]]:
    return [json_form.records(path.read_bytes(), "traces")[0] for path in sorted(SAMPLES.glob("*.traces.json"))]


def _renamed(span: Span, number: int) -> Span:
    """The span as another call: at another time, with provider's ids of its own."""
    span.start_time_unix_nano -= number * 10**9
    span.end_time_unix_nano -= number * 10**9
    for attribute in span.attributes:
        if attribute.key in _IDS:
            attribute.value.string_value += f"-{number}"
    return span


def mixed(spans: int) -> Iterator[bytes]:
    """Requests of about `REQUEST` spans: all samples over and over, each time with ids and a service of its own."""
    request, held, made = ExportTraceServiceRequest(), 0, 0
    templates = _traces()
    for turn in range(10**9):
        ids: dict[bytes, bytes] = {}
        for resource_bytes, scope, record in templates[turn % len(templates)]:
            span = Span.FromString(record)
            span.trace_id = ids.setdefault(span.trace_id, os.urandom(16))
            _renamed(span, turn)
            of_resource = ResourceSpans()
            of_resource.resource.ParseFromString(resource_bytes)
            of_resource.resource.attributes.add(key="service.instance.id").value.string_value = str(turn % 50)
            of_scope = ScopeSpans(spans=[span])
            of_scope.scope.ParseFromString(scope)
            of_resource.scope_spans.append(of_scope)
            request.resource_spans.append(of_resource)
            held, made = held + 1, made + 1
        if held >= REQUEST or made >= spans:
            yield request.SerializeToString()
            request, held = ExportTraceServiceRequest(), 0
        if made >= spans:
            return


def web(spans: int, share: float) -> Iterator[bytes]:
    """Requests of 512 spans with 18 attributes of a web service, of which a share are calls to models."""
    chosen = [each for trace in _traces() for each in trace]
    every = max(1, round(1 / share)) if share else spans + 1
    for batch in range(spans // REQUEST):
        request = ExportTraceServiceRequest()
        of_scope = request.resource_spans.add().scope_spans.add()
        of_scope.scope.name = "opentelemetry.instrumentation.fastapi"
        for number in range(REQUEST):
            span = of_scope.spans.add(
                trace_id=os.urandom(16),
                span_id=os.urandom(8),
                parent_span_id=os.urandom(8),
                name="GET /orders",
                start_time_unix_nano=1_795_000_000 * 10**9,
                end_time_unix_nano=1_795_000_001 * 10**9,
            )
            for at in range(18):
                attribute = span.attributes.add(key=f"http.request.header.number_{at}")
                attribute.value.string_value = f"the value of header {at}"
            if number % every == 0:
                resource_bytes, scope, record = chosen[(batch * 7 + number) % len(chosen)]
                called = request.resource_spans.add()
                called.resource.ParseFromString(resource_bytes)
                called.scope_spans.add().scope.ParseFromString(scope)
                call = _renamed(Span.FromString(record), batch * REQUEST + number)
                call.trace_id, call.parent_span_id = span.trace_id, span.span_id
                call.span_id = os.urandom(8)
                called.scope_spans[0].spans.append(call)
        yield request.SerializeToString()


class Functions:
    """CPU seconds of each function that a module calls by its bare name, without those that it calls in turn."""

    def __init__(self, module: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]
        namespace = import_module(f"spanledger.collector.{module}")
        for name, function in list(vars(namespace).items()):
            if isinstance(function, FunctionType) and function.__module__.startswith("spanledger.collector"):
                setattr(namespace, name, self._timed(name, function))

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            begun = time.process_time()
            try:
                return function(*args, **named)
            finally:
                took = time.process_time() - begun
                self.seconds[name] += took - self._inner.pop()
                self._inner[-1] += took

        return timed


def measure(bodies: Iterator[bytes], at_once: int, *, fill: bool, functions: Functions | None = None) -> dict[str, float]:
    """CPU µs a span by step, with so many bodies in each batch; if told to, once memory of evidence is full."""
    with tempfile.TemporaryDirectory() as folder:
        counter = count_once.CountOnce(folder=Path(folder))
        attribution = Attribution()
        reads = read_by(attribution)
        spent = dict.fromkeys(_STEPS, 0.0)
        seen = entries = number = 0
        full = not fill
        while batch := [
            Received(
                sequence=number * at_once + place, received_at=NOW, signal="traces", encoding="protobuf", compression="identity",
                body=body,
            )
            for place, body in enumerate(islice(bodies, at_once), 1)
        ]:  # fmt: skip
            number += 1
            # What is filling memory is not measured, nor are imports, caches and first allocations.
            measured = full and number > 1
            if functions and not measured:
                functions.seconds.clear()
            asked = time.process_time()
            for received in batch:
                check("traces", "protobuf", received.body)
            begun = time.process_time()
            telemetry = decode.decode(batch)
            telemetry.without_content(reads, LONGEST_UNREAD)
            decoded = time.process_time()
            evidence = recognise.recognise(telemetry, attribution)
            recognised = time.process_time()
            mark = batch[-1].sequence
            counted = counter.count(evidence, now=NOW + timedelta(seconds=number), mark=mark)
            counter.posted(mark, counted.with_columns(pl.lit("unpriced").alias("cost_state")))
            done = time.process_time()
            if measured:
                times = (begun - asked, decoded - begun, recognised - decoded, done - recognised)
                for step, seconds in zip(_STEPS, times, strict=True):
                    spent[step] += seconds
                seen += telemetry.seen
                entries += counted.height
            full = full or counter.memory.horizon is not None
        figures = {step: round(seconds / max(seen, 1) * 1e6, 2) for step, seconds in spent.items()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        memory = counter.memory
        held = (memory.evidence.estimated_size() + memory.posted.estimated_size() + memory.gone.size) / 2**20
        if functions:
            figures |= {
                name: round(1e6 * s / seen, 2) for name, s in sorted(functions.seconds.items(), key=lambda item: -item[1])
            }
        return {
            "spans": seen, "entries": entries, **figures, "all": round(sum(figures[step] for step in _STEPS), 2),
            "counting_of_decoding": _ratio(spent, "check", "decode"), "counting_of_decode_alone": _ratio(spent, "decode"),
            "remembered": memory.evidence.height, "remembered_mib": round(held), "peak_rss_mib": round(peak),
        }  # fmt: skip


def _ratio(spent: dict[str, float], *decoding: str) -> float:
    return round((spent["recognise"] + spent["count once"]) / (sum(spent[step] for step in decoding) or 1), 3)


def split(large: dict[str, float], small: dict[str, float], times: float) -> dict[str, dict[str, float]]:
    """By step, what a batch costs in ms whatever it holds, and what each span adds in µs; the small are so many times smaller."""
    fixed = {step: (small[step] - large[step]) / (times - 1) for step in _STEPS}  # µs a span of the large batches
    return {
        "fixed_ms_a_batch": {step: round(fixed[step] * FULL * REQUEST / 1e3, 1) for step in _STEPS},
        "us_a_span_beyond": {step: round(large[step] - fixed[step], 2) for step in _STEPS},
    }


def main() -> None:
    """Print one JSON object for each kind of load."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--spans", type=int, default=160_000, help="spans of the mix, those that fill memory included")
    options.add_argument("--web", type=int, default=50_000, help="spans of the web service; 0 for none")
    options.add_argument("--million", action="store_true", help="a mix of a million spans and nothing else")
    options.add_argument("--model-share", type=float, default=0.01)
    options.add_argument(
        "--functions", metavar="MODULE", help="also what each function takes that this module of the collector calls"
    )
    given = options.parse_args()
    functions = Functions(given.functions) if given.functions else None
    # As `spanledger serve` does once it has loaded everything.
    gc.set_threshold(20_000, 20, 50)
    started()
    if given.million:
        print(json.dumps({"mix": measure(mixed(1_000_000), FULL, fill=True, functions=functions)}))
        return
    if given.web:
        print(json.dumps({"web": measure(web(given.web, given.model_share), FULL, fill=False)}), flush=True)
    mix = measure(mixed(given.spans), FULL, fill=True, functions=functions)
    print(json.dumps({"mix": mix}), flush=True)
    if not functions:
        print(json.dumps(split(mix, measure(mixed(given.spans), FULL // 4, fill=True), FULL / (FULL // 4))))


if __name__ == "__main__":
    main()
