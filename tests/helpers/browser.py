"""What a person at a browser sees: headless Chromium, driven by Playwright, that reaches nothing but what it may."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from tests.helpers.ports import free_port
from tests.helpers.prerequisites import missing

DESKTOP, PHONE = 1280, 390
"""Widths in CSS pixels."""
PATIENCE_MS = 60_000
"""For something to appear: MLflow's pages ask a server, and machines may be busy."""
NOT_OURS = re.compile(
    r"404 \(Not Found\) http://[^ ]+/ajax-api/2\.0/mlflow/users/current$"
    r"|ResizeObserver loop completed with undelivered notifications\. http://[^ ]+/static/js/main\.\w+\.js$"
)
"""What MLflow's own pages log as errors: the answer to who is signed in, where there are no accounts, and a layout that
took more than a frame."""
PICTURES = Path(os.environ.get("LENS_SCREENSHOTS", "build/screenshots"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's package; Playwright's own builds are not needed."""
    program = shutil.which("chromium")
    if program is None:
        missing("Chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []  # it refuses to run as root otherwise
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page, and what went wrong on it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """On the console, of the page's scripts, and of requests to anywhere else."""

    def picture(self, name: str, whole: bool = True) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=whole)


@contextmanager
def tab(browser: Browser, reachable: str, width: int = DESKTOP, height: int = 900, **options: Any) -> Iterator[Tab]:
    """A window of its own, in which only addresses that begin with `reachable` can be opened."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    expect.set_options(timeout=PATIENCE_MS)
    opened = Tab(page)

    def follow(route: Route) -> None:
        if route.request.url.startswith(reachable):
            route.continue_()
            return
        opened.errors.append(f"asked for {route.request.url}")
        route.abort()

    page.route("**/*", follow)
    page.on("console", lambda said: _note(opened, said))
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    yield opened
    context.close()


def _note(opened: Tab, said: ConsoleMessage) -> None:
    error = f"{said.text} {said.location['url']}"
    if said.type == "error" and not NOT_OURS.search(error):
        opened.errors.append(error)


def overflow(page: Page) -> dict[str, int]:
    """How wide the page is, where that is wider than the window; empty where everything fits."""
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return {} if width <= window else {"page": width, "window": window}


@contextmanager
def mlflow_ui(home: Path) -> Iterator[str]:
    """Address of what `lens ui` serves of a home folder."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "lens_core.cli", "ui", "--home", str(home), "--port", str(port)]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 180
            while not _answers(address):
                log.seek(0)
                assert server.poll() is None, log.read()
                assert time.monotonic() < deadline, log.read()
                time.sleep(0.1)
            yield address
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def open_in_mlflow(page: Page, address: str, path: str) -> None:
    """Go to a page of MLflow's, and close the assistant that stands beside each."""
    page.goto(f"{address}/#{path}")
    page.locator("[data-component-id='mlflow.assistant.chat_panel.close']").click()


def open_curves(page: Page, address: str, runs: Sequence[str], metric: str) -> None:
    """The curves of a metric of several runs in one chart, by step."""
    query = f'runs={json.dumps(runs)}&metric="{metric}"&experiments=["1"]&plot_metric_keys=["{metric}"]'
    open_in_mlflow(page, address, f"/metric?{query}")
    page.get_by_text("Step", exact=True).click()
    expect(page.locator(".js-plotly-plot .xtitle")).to_have_text("Step")
    assert page.locator(".js-plotly-plot path.js-line").count() >= len(runs)


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=1).ok
    except requests.RequestException:
        return False
