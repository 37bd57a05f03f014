"""The light part is light: what importing it brings with it, how long that takes, and what it shows to users."""

import subprocess
import sys

import spanledger.instrumentation

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
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_it_takes_a_quarter_of_a_second_at_most() -> None:
    program = "import time; t = time.process_time(); import spanledger.auto; print(time.process_time() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True).stdout)
        for _ in range(3)
    ]
    # CPU time, so that a busy machine does not decide.
    assert min(seconds) < 0.25


def test_a_missing_extra_says_what_to_type() -> None:
    error = spanledger.instrumentation.MissingExtra("dashboard", "streamlit")
    assert isinstance(error, ImportError)
    assert str(error) == "streamlit is not installed; try: pip install 'spanledger[dashboard]'"
