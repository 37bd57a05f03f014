"""Web servers' workers and Celery's: calls made in them are metered whole, and a task knows whom it works for."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spanledger.cli.provider_stand_in import StandIn
from tests.instrumentation.otlp_sink import OtlpSink

APP = """
import spanledger.auto
import os, openai

def ask():
    with openai.OpenAI(base_url=os.environ["STAND_IN"] + "/v1", api_key="any", max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])

def wsgi(environ, start_response):
    ask()
    start_response("200 OK", [("content-length", "0")])
    return [b""]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind.endswith("shutdown"):
                return
    ask()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""

SERVERS = {
    "gunicorn": ["gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", "application:wsgi"],
    # Where a worker does not answer for five seconds, uvicorn would kill it: a busy machine may need as long to start one.
    "uvicorn": ["uvicorn", "--workers", "2", "--timeout-worker-healthcheck", "60", "--port", "0", "application:asgi"],
    "uvicorn alone": ["uvicorn", "--port", "0", "application:asgi"],
}


@pytest.mark.parametrize("server", SERVERS)
def test_every_call_in_a_web_servers_workers_arrives(server: str, provider: StandIn, tmp_path: Path) -> None:
    pytest.importorskip(server.partition(" ")[0])
    (tmp_path / "application.py").write_text(APP)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANLEDGER_", "PYTEST_"))}
    said = tmp_path / "said"
    with OtlpSink() as sink, said.open("w") as log:
        environ = {
            **clean, "STAND_IN": provider.url, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            # Longer than the server lives: what arrives was sent because it ended.
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            "HOME": str(tmp_path),  # gunicorn keeps a socket there, the same for all that run
        }  # fmt: skip
        with _started([sys.executable, "-m", *SERVERS[server]], cwd=tmp_path, stdout=log, stderr=log, env=environ) as process:
            port = _port(said, process)
            for _ in range(8):
                _get(port, process)
        sink.wait_for(8)
        time.sleep(0.2)
        assert [span.name for span in sink.spans] == ["chat gpt-4o-mini"] * 8, said.read_text()


@contextmanager
def _started(command: list[str], **more: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is told to end afterwards, and killed with its children when it does not."""
    process: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True, **more)
    try:
        yield process
        process.terminate()
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _get(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Ask once; a worker may not listen yet."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answered:
                assert answered.status == 200
            return
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > deadline:
                raise
            assert process.poll() is None
            time.sleep(0.05)


def _port(said: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + 60
    while not (found := re.search(r"(?:Listening at|running on):? http://127\.0\.0\.1:(\d+)", said.read_text())):
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.05)
    return int(found[1])


CELERY = """
import spanledger.auto
import os, openai
from celery import Celery
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from spanledger.instrumentation import attribute

CeleryInstrumentor().instrument()
app = Celery("application", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    worker_hijack_root_logger=False,
)

@app.task
def ask():
    with openai.OpenAI(base_url=os.environ["STAND_IN"] + "/v1", api_key="any", max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])

if __name__ == "__main__":
    with attribute(tenant="acme", user="u-17"):
        ask.delay()
    ask.delay()
"""


def test_a_celery_task_works_for_whom_it_was_sent_for_and_its_call_outlives_its_process(
    provider: StandIn, tmp_path: Path
) -> None:
    pytest.importorskip("celery")
    pytest.importorskip("opentelemetry.instrumentation.celery")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANLEDGER_", "PYTEST_"))}
    (tmp_path / "application.py").write_text(CELERY)
    for folder in ("queue", "control"):
        (tmp_path / folder).mkdir()
    with OtlpSink() as sink, (tmp_path / "said").open("w") as log:
        environ = {
            **clean, "STAND_IN": provider.url, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_BSP_SCHEDULE_DELAY": "60000",
        }  # fmt: skip
        subprocess.run([sys.executable, "application.py"], cwd=tmp_path, check=True, timeout=60, env=environ)
        # A process for each task, which ends with it.
        worker = [
            sys.executable, "-m", "celery", "-A", "application", "worker", "--pool", "prefork", "--concurrency", "1",
            "--max-tasks-per-child", "1", "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]  # fmt: skip
        with _started(worker, cwd=tmp_path, stdout=log, stderr=log, env=environ):
            sink.wait_for(2)
        told = [{one.key: one.value.string_value for one in span.attributes} for span in sink.spans]
    # Whichever process ends first tells first.
    whom = [(one.get("spanledger.tenant"), one.get("user.id")) for one in told]
    assert sorted(whom, key=str) == [("acme", "u-17"), (None, None)]
