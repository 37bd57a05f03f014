"""The dashboard as people meet it: its own process, and a real browser."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.analytics.ledgers import call, filled

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60_000  # milliseconds: two busy cores may be all there is
NARROW = "document.documentElement.scrollWidth === 390"


@contextmanager
def dashboard(data: Path) -> Generator[str]:
    """The running dashboard's address."""
    command = [sys.executable, "-m", "spanledger.dashboard", "--data", str(data), "--port", "0", "--api", "http://127.0.0.1:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("dashboard: ").strip()
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def browser() -> Generator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"there is no browser at {CHROMIUM}; install it with: apt-get install -y chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET), timeout=PATIENCE)
        try:
            yield started
        finally:
            started.close()


def visit(page: Page, address: str) -> None:
    """Open the dashboard as soon as its server answers."""
    for _ in range(120):
        try:
            page.goto(address, timeout=PATIENCE)
            return
        except Exception as error:
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
            page.wait_for_timeout(500)
    pytest.fail(f"the dashboard does not answer at {address}")


@pytest.mark.timeout(400)
def test_an_empty_ledger_shows_what_to_do_and_the_first_call_appears_by_itself(tmp_path: Path) -> None:
    with dashboard(tmp_path) as address, browser() as started:
        page = started.new_page(viewport={"width": 1440, "height": 900})
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        visit(page, address)
        expect(page.get_by_text("No calls yet")).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("import spanledger.auto")).to_be_visible(timeout=PATIENCE)

        filled(tmp_path, [call("12.34", at=datetime.now(UTC), tenant="<i>acme</i>", model="gpt-5")])
        expect(page.locator("dd.sl-value", has_text="$12.34").first).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("<i>acme</i>", exact=True).first).to_be_visible(timeout=PATIENCE)
        chart = page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first
        expect(chart).to_be_visible(timeout=PATIENCE)

        page.get_by_role("link", name="Calls").click(timeout=PATIENCE)
        expect(page.get_by_role("cell", name="$12.34")).to_be_visible(timeout=PATIENCE)

        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function(NARROW, timeout=PATIENCE)
        page.goto(address, timeout=PATIENCE)
        expect(page.locator("dd.sl-value", has_text="$12.34").first).to_be_visible(timeout=PATIENCE)
        page.wait_for_function(NARROW, timeout=PATIENCE)

        assert not wrong
        elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
        assert not elsewhere, "the dashboard may not ask anybody else"
