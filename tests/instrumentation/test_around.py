"""What stands around the calls: import orders, tracer providers, forks, exits, exporters that are away; in real processes."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

from spanledger.cli.provider_stand_in import StandIn
from tests.instrumentation.otlp_sink import OtlpSink

ASK = """
    def ask(**more):
        import openai
        global client
        client = openai.OpenAI(base_url=BASE, api_key="any", max_retries=0)
        return client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "[[input=100 output=40]]"}], **more
        )
"""


def run(source: str, provider: StandIn, **environ: str) -> "subprocess.CompletedProcess[str]":
    """A process of its own, as an application is one."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANLEDGER_", "PYTEST_"))}
    program = f"BASE = {provider.url + '/v1'!r}\n" + textwrap.dedent(ASK) + textwrap.dedent(source)
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", program]
    done = subprocess.run(command, env=clean | environ, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("import spanledger.auto\nimport openai", marks=pytest.mark.soak),
        pytest.param("import openai\nimport spanledger.auto", marks=pytest.mark.soak),
        "from openai import OpenAI\nclient = OpenAI(base_url=BASE, api_key='x')\nclient.chat.completions.with_raw_response\n"
        "import spanledger.auto",
        "import spanledger.auto\nimport importlib, sys\nimport spanledger.auto as again\nimportlib.reload(again)",
        "import spanledger.auto\nimport openai, sys\n"
        "for name in [name for name in sys.modules if name.startswith('openai')]: del sys.modules[name]",
    ],
)
def test_any_order_of_imports_meters_each_call_once(order: str, provider: StandIn) -> None:
    with OtlpSink() as sink:
        run(f"{order}\nask()", provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
        assert [span.name for span in sink.spans] == ["chat gpt-4o"]


def test_with_no_tracer_provider_spans_go_where_the_variables_say_and_the_tail_is_sent_at_exit(provider: StandIn) -> None:
    with OtlpSink() as sink:
        run(
            "import spanledger.auto\nask()",
            provider,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=sink.url + "/v1/traces",
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer k",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_TRACES_SAMPLER="always_off",
        )
        sink.wait_for(1)
        headers = {name.lower(): value for name, value in sink.headers[0].items()}
        assert headers["authorization"] == "Bearer k"


def test_no_tracer_provider_is_made_global(provider: StandIn) -> None:
    source = """
        import spanledger.auto
        ask()
        from opentelemetry import trace
        print(type(trace.get_tracer_provider()).__name__)
        """
    with OtlpSink() as sink:
        assert "ProxyTracerProvider" in run(source, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url).stdout


def test_a_tracer_provider_set_after_the_first_call_is_used_from_then_on(provider: StandIn) -> None:
    source = """
        import spanledger.auto
        ask()
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Theirs(SpanExporter):
            def export(self, spans):
                print(*(span.name for span in spans), flush=True)
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Theirs()))
        trace.set_tracer_provider(provider)
        stream = ask(stream=True)
        next(stream)
        """
    with OtlpSink() as sink:
        done = run(source, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
        assert [span.name for span in sink.spans] == ["chat gpt-4o"]
    # The stream was open when the interpreter ended: its call is ended before the application's provider shuts down.
    assert done.stdout.split() == ["chat", "gpt-4o"]
    assert "Overriding" not in done.stderr


#: Nothing is on its way when these fork: a fork waits half a second for it, which a machine that stands still may need for more.
LATE = {"OTEL_BSP_SCHEDULE_DELAY": "5000"}


def test_a_forked_child_sends_its_own_calls_and_not_its_parents(provider: StandIn) -> None:
    source = """
        import os, warnings
        import spanledger.auto
        stream = ask(stream=True)
        next(stream)
        ask()
        child = os.fork()
        if child == 0:
            ask(stream=True).close()
            import atexit
            atexit._run_exitfuncs()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        list(stream)
        """
    with OtlpSink() as sink:
        run(source, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **LATE)
        sink.wait_for(3)
        assert len({span.span_id for span in sink.spans}) == len(sink.spans) == 3


def test_multiprocessing_and_threads_lose_nothing(provider: StandIn) -> None:
    # The parent forks before it has ended any thread: OpenSSL takes a lock when a thread ends, and a child that is forked in
    # that moment hangs in the client's own `SSLContext()`, with metering or without.
    source = """
        import multiprocessing, threading
        import spanledger.auto

        def work():
            threads = [threading.Thread(target=ask) for _ in range(3)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]

        ask()
        processes = [multiprocessing.get_context("fork").Process(target=work) for _ in range(2)]
        [process.start() for process in processes]
        [process.join() for process in processes]
        assert all(process.exitcode == 0 for process in processes)
        """
    with OtlpSink() as sink:
        run(source, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **LATE)
        sink.wait_for(7)
        assert len({span.span_id for span in sink.spans}) == 7


def test_a_collector_that_is_away_neither_hangs_the_exit_nor_fills_the_log(provider: StandIn) -> None:
    began = time.monotonic()
    done = run("import spanledger.auto\nfor _ in range(5): ask()", provider, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert time.monotonic() - began < 60
    assert len(done.stderr.splitlines()) <= 1, done.stderr


def test_an_application_may_end_before_any_call(provider: StandIn) -> None:
    done = run("import spanledger.auto", provider)
    assert (done.stdout, done.stderr) == ("", "")


def test_uninstrument_leaves_the_clients_as_they_were_found(provider: StandIn) -> None:
    source = """
        import sys, openai._base_client as o, anthropic._base_client as a
        owners = (o.SyncAPIClient, o.AsyncAPIClient, a.SyncAPIClient, a.AsyncAPIClient)
        before = [vars(owner)["request"] for owner in owners] + [a.start_api_call_span]
        finders = list(sys.meta_path)
        from spanledger.instrumentation import instrument, uninstrument
        instrument()
        assert not any(x is y for x, y in zip(before, [vars(owner)["request"] for owner in owners] + [a.start_api_call_span]))
        uninstrument()
        after = [vars(owner)["request"] for owner in owners] + [a.start_api_call_span]
        assert all(x is y for x, y in zip(before, after))
        assert sys.meta_path == finders
        ask()
        instrument()
        ask()
        uninstrument()
        """
    with OtlpSink() as sink:
        run(source, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
        assert len(sink.spans) == 1


def test_a_function_wrapped_over_ours_by_someone_else_goes_on_working_after_uninstrument(provider: StandIn) -> None:
    source = """
        import functools, openai._base_client as o
        from spanledger.instrumentation import instrument, uninstrument
        instrument()
        ours = o.SyncAPIClient.request
        seen = []

        @functools.wraps(ours)
        def theirs(*args, **kwargs):
            seen.append(1)
            return ours(*args, **kwargs)

        o.SyncAPIClient.request = theirs
        uninstrument()
        assert ask().usage.prompt_tokens == 100 and seen == [1]
        instrument()
        ask()
        """
    with OtlpSink() as sink:
        run(source, provider, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
        assert len(sink.spans) == 1


def test_opentelemetry_instrument_meters_without_a_line_in_the_application(provider: StandIn) -> None:
    program = f"BASE = {provider.url + '/v1'!r}\n" + textwrap.dedent(ASK) + "ask()\n"
    with OtlpSink() as sink:
        environ = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }
        command = [os.path.join(os.path.dirname(sys.executable), "opentelemetry-instrument"), sys.executable, "-c", program]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        sink.wait_for(1)
        assert [span.name for span in sink.spans] == ["chat gpt-4o"]
