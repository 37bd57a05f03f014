"""A notebook in a real kernel: cells that are run again, modules that are reloaded, a client made between them."""

import os
import sys
from pathlib import Path

import pytest

from spanledger.cli.provider_stand_in import StandIn
from tests.instrumentation.otlp_sink import OtlpSink

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

IMPORT = "import spanledger.auto"
MAKE = """
import os, openai
client = openai.OpenAI(base_url=os.environ["STAND_IN"] + "/v1", api_key="any", max_retries=0)
"""
ASK = 'client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}]).usage.prompt_tokens'
RELOAD = """
import importlib, sys, spanledger.auto, spanledger.instrumentation
importlib.reload(spanledger.instrumentation)
importlib.reload(spanledger.auto)
"""
AUTORELOAD = "%load_ext autoreload\n%autoreload 2"
FORGET = """
import sys
for name in [name for name in sys.modules if name == "spanledger" or name.startswith("spanledger.")]:
    del sys.modules[name]
import spanledger.auto
"""


def test_each_call_of_a_notebook_is_one_span_however_often_its_cells_are_run(provider: StandIn, tmp_path: Path) -> None:
    cells = [
        (IMPORT, 0), (MAKE, 0), (ASK, 1), (IMPORT, 0), (ASK, 1), (RELOAD, 0), (ASK, 1), (AUTORELOAD, 0), (ASK, 1),
        (FORGET, 0), (ASK, 1), (MAKE, 0), (ASK, 1), ("await __import__('asyncio').sleep(0)", 0), (ASK, 1),
    ]  # fmt: skip
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source, _ in cells])
    with OtlpSink() as sink:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANLEDGER_", "PYTEST_"))}
        environ |= {"STAND_IN": provider.url, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "JUPYTER_DATA_DIR": str(tmp_path)}
        kernel = tmp_path / "kernels" / "here"
        kernel.mkdir(parents=True)
        (kernel / "kernel.json").write_text(
            f'{{"argv": ["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"], "display_name": "here"}}'
        )
        with pytest.MonkeyPatch.context() as patch:
            for name in set(os.environ) - set(environ):
                patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            nbclient.NotebookClient(book, timeout=100, kernel_name="here").execute()
        calls = sum(count for _, count in cells)
        sink.wait_for(calls)
        assert len({span.span_id for span in sink.spans}) == len(sink.spans) == calls
