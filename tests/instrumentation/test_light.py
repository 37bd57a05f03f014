"""The light part is light: what importing it brings with it, how long that takes, and what it shows to users."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import spanledger.instrumentation
from spanledger.instrumentation.settings import Settings

HEAVY = (
    "duckdb", "polars", "pyarrow", "deltalake", "fastapi", "grpc", "sqlalchemy", "streamlit", "genai_prices", "pydantic",
    "openai", "anthropic", "httpx", "httpx2", "requests", "opentelemetry", "asyncio",
)  # fmt: skip


def test_the_public_face() -> None:
    assert sorted(spanledger.instrumentation.__all__) == [
        "LimitExceeded",
        "MissingExtra",
        "attribute",
        "instrument",
        "uninstrument",
    ]
    for name in spanledger.instrumentation.__all__:
        assert getattr(spanledger.instrumentation, name).__doc__


def test_nothing_heavy_is_imported() -> None:
    program = f"import sys, spanledger.auto; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_it_takes_a_quarter_of_a_second_at_most() -> None:
    program = "import time; t = time.process_time(); import spanledger.auto; print(time.process_time() - t)"

    def seconds() -> float:
        return float(
            subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250, check=True).stdout
        )

    # CPU time, which a busy machine stretches a little too: it is the least of some.
    assert any(seconds() < 0.25 for _ in range(10))


def test_a_missing_extra_says_what_to_type() -> None:
    error = spanledger.instrumentation.MissingExtra("dashboard", "streamlit")
    assert isinstance(error, ImportError)
    assert str(error) == "streamlit is not installed; try: pip install 'spanledger[dashboard]'"


def test_every_setting_is_in_the_documentation_and_nothing_else_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "instrumentation.md").read_text()
    table = text.partition("## Settings")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| (.*?)(?: \([^()]*\))? \|$", table, re.MULTILINE))
    said = {row.metadata["variable"]: re.sub(r" \([^()]*\)$", "", row.metadata["says"]) for row in fields(Settings)}
    assert {name: re.sub(r" \([^()]*\)$", "", says) for name, says in documented.items()} == said


def test_settings_that_cannot_be_read_keep_their_default() -> None:
    assert Settings.read({"SPANLEDGER_GUARD_TIMEOUT_MS": "soon", "SPANLEDGER_GUARD_LEASE": "many"}) == Settings()
    assert Settings.read({"SPANLEDGER_PROVIDER_HOSTS": " A.b = groq ,x"}).hosts == (("a.b", "groq"),)
