"""What the demo leaves behind, in a browser: its report, and MLflow's pages as `lens ui` serves them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lens_core.tracking import list_runs
from tests.helpers.browser import DESKTOP, PHONE, Tab, chromium, mlflow_ui, open_curves, open_in_mlflow, overflow, tab

pytestmark = pytest.mark.e2e

Visit = Callable[..., Tab]


@pytest.fixture(scope="module")
def runs(demo: tuple[Path, str]) -> dict[str, str]:
    """Name -> id of the demo's runs; the whole one is `demo`."""
    rows = list_runs(f"sqlite:///{demo[0] / 'mlflow.db'}", 1)
    return {row.name if row.depth else "demo": row.id for row in rows}


@pytest.fixture(scope="module")
def address(demo: tuple[Path, str]) -> Iterator[str]:
    with mlflow_ui(demo[0]) as served:
        yield served


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """Opens a page of MLflow; in the end nothing may have gone wrong on it."""
    with ExitStack() as stack:
        tabs: list[Tab] = []

        def opened(path: str) -> Tab:
            seen = stack.enter_context(tab(browser, address, DESKTOP))
            tabs.append(seen)
            open_in_mlflow(seen.page, address, path)
            return seen

        yield opened
        for seen in tabs:
            assert seen.errors == []
            assert overflow(seen.page) == {}


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_report_of_the_demo_can_be_read(browser: Browser, demo: tuple[Path, str], width: int) -> None:
    (report,) = (demo[0] / "runs").glob("*/report.html")
    with tab(browser, "file://", width) as seen:
        seen.page.goto(report.as_uri())
        expect(seen.page.locator("h1")).to_contain_text("LENS run demo-")
        expect(seen.page.locator("figure svg")).to_have_count(9)
        expect(seen.page.locator("section.problem")).to_have_count(5)
        assert overflow(seen.page) == {}
        assert seen.errors == []
        seen.picture(f"demo-report-{width}")


def test_runs_of_the_demo_are_listed_in_one(visit: Visit) -> None:
    seen = visit("/experiments/1/runs")
    seen.page.locator("[data-component-id$='runnamecellrenderer.tsx_46']").click()
    for name in ("prepare", "train grpo", "train lens", "evaluate base", "compare"):
        expect(seen.page.get_by_role("link", name=name, exact=True)).to_be_visible()
    seen.picture("mlflow-runs", whole=False)


def test_trainings_can_be_compared(visit: Visit, runs: dict[str, str]) -> None:
    chosen = json.dumps([runs["train grpo"], runs["train lens"]])
    seen = visit(f'/compare-runs?runs={chosen}&experiments=["1"]')
    expect(seen.page.get_by_role("heading", name="Comparing 2 Runs")).to_be_visible()
    for method in ("grpo", "lens"):
        expect(seen.page.locator(".js-plotly-plot text", has_text=method)).to_be_visible()
        expect(seen.page.get_by_text(f"train {method}", exact=True).first).to_be_visible()
    seen.picture("mlflow-compare", whole=False)


def test_curves_of_two_trainings_are_drawn_in_one_chart(browser: Browser, address: str, runs: dict[str, str]) -> None:
    with tab(browser, address) as seen:
        open_curves(seen.page, address, [runs["train grpo"], runs["train lens"]], "reward")
        expect(seen.page.get_by_text("train lens (reward)")).to_be_visible()
        seen.picture("mlflow-curves", whole=False)
        assert seen.errors == []


def test_report_is_shown_among_the_artifacts(visit: Visit, runs: dict[str, str]) -> None:
    seen = visit(f"/experiments/1/runs/{runs['demo']}/artifacts/report.html")
    report = seen.page.frame_locator("iframe")
    expect(report.locator("h1")).to_contain_text("LENS run demo-")
    expect(report.locator("figure svg")).to_have_count(9)
    assert report.locator("figure svg").first.bounding_box()["width"] > 200
    seen.picture("mlflow-artifact", whole=False)


def test_answers_are_listed_as_traces_with_their_verdicts(visit: Visit) -> None:
    seen = visit("/experiments/1/traces")
    seen.page.get_by_role("button", name="Got it").click()  # MLflow advertises a feature once
    expect(seen.page.get_by_text("Compute", exact=False).first).to_be_visible()
    expect(seen.page.get_by_text("wrong", exact=True).first).to_be_attached()
    seen.picture("mlflow-traces", whole=False)
