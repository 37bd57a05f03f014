"""Cost does not vanish when traces are sampled, and the conventions' metrics are there for who asks for them."""

import json

from spanledger.cli.provider_stand_in import StandIn
from tests.instrumentation.otlp_sink import OtlpSink
from tests.instrumentation.test_around import run

SAMPLED = """
    import spanledger.auto
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    class Theirs(SpanExporter):
        def export(self, spans):
            print(*("theirs " + span.name for span in spans), sep="\\n", flush=True)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.0)))
    provider.add_span_processor(SimpleSpanProcessor(Theirs()))
    trace.set_tracer_provider(provider)
    with trace.get_tracer("app").start_as_current_span("request") as span:
        ask()
        print("trace", format(span.get_span_context().trace_id, "032x"))
"""


def test_calls_of_traces_that_are_sampled_out_go_out_whole_by_their_own_way(provider: StandIn) -> None:
    with OtlpSink() as sink:
        done = run(SAMPLED, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
        assert "theirs" not in done.stdout
        sink.wait_for(1)
        assert [span.name for span in sink.spans] == ["chat gpt-4o"]
        assert sink.spans[0].trace_id.hex() == done.stdout.split()[-1]


def test_they_can_be_let_go(provider: StandIn) -> None:
    with OtlpSink() as sink:
        run(SAMPLED, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, SPANLEDGER_SAMPLED_OUT="drop")
        assert sink.spans == []


METRICS = """
    import json
    import spanledger.auto
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    ask()
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    ask()
    try:
        client.chat.completions.create(model="fail-429", messages=[{"role": "user", "content": "hi"}])
    except Exception:
        pass
    told = json.loads(reader.get_metrics_data().to_json())
    metrics = told["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    points = {m["name"]: [(p["attributes"], p["count"], p["sum"]) for p in m["data"]["data_points"]] for m in metrics}
    print(json.dumps(points))
"""


def test_the_conventions_metrics_are_recorded_where_there_is_a_meter_provider(provider: StandIn) -> None:
    with OtlpSink() as sink:
        points = json.loads(run(METRICS, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url).stdout)
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "server.address": "127.0.0.1",
        "server.port": provider.port,
    }
    asked = {**common, "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024-08-06"}
    failed = {**common, "gen_ai.request.model": "fail-429", "error.type": "rate_limit_exceeded"}
    durations = points["gen_ai.client.operation.duration"]
    assert [attributes for attributes, _, _ in durations] == [asked, failed]
    assert all(count == 1 and seconds > 0 for _, count, seconds in durations)
    tokens = points["gen_ai.client.token.usage"]
    assert [(attributes["gen_ai.token.type"], total) for attributes, _, total in tokens] == [("input", 100), ("output", 40)]
