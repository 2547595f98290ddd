"""The package's own pages in a browser: drawn, within the window, by keyboard, in the dark, on paper."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import DESKTOP, PHONE, Tab, chromium, overflow, tab
from tests.helpers.pages import PAGES

pytestmark = pytest.mark.integration

Show = Callable[..., Tab]
PAPER = 718
"""Width of A4 in CSS pixels, less a browser's margins."""
PLOTTED = [name for name in PAGES if name != "samples"]
DRAWN = """figure => {
  const svg = figure.querySelector('svg'), frame = figure.getBoundingClientRect(), box = svg.getBoundingClientRect();
  const seen = kind => [...svg.querySelectorAll(kind)].map(each => each.getBoundingClientRect())
    .filter(each => each.width > 1 || each.height > 1).length;
  return {
    shapes: seen('path, use'), texts: seen('text'),
    inside: box.width > 200 && box.height > 80 && box.left >= frame.left && box.right <= frame.right + 0.5,
  };
}"""
FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  const name = at.getAttribute('aria-label') || at.name || at.textContent;
  return [`${at.tagName} ${name.trim()}`, style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth)];
}"""
TOO_WIDE = """width => [...document.querySelectorAll('table, figure, pre, p, h1, svg')]
  .filter(each => each.getBoundingClientRect().right > width + 0.5).map(each => each.outerHTML.slice(0, 80))"""
CUT_OFF = """() => [...document.querySelectorAll('main *')]
  .filter(each => each.scrollHeight > each.clientHeight + 1 && getComputedStyle(each).overflowY !== 'visible')
  .map(each => each.outerHTML.slice(0, 80))"""


CLIPPED = """() => [...document.querySelectorAll('main, .scroll, table, td')]
  .filter(each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== 'inline')
  .map(each => each.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each kind of page lies."""
    folder = tmp_path_factory.mktemp("pages")
    return {name: write(folder / name) for name, write in PAGES.items()}


@pytest.fixture(scope="module")
def browser(pages: dict[str, Path]) -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def show(browser: Browser, pages: dict[str, Path]) -> Iterator[Show]:
    """Opens a page by its kind; in the end nothing may have gone wrong on it."""
    with ExitStack() as stack:
        tabs: list[Tab] = []

        def opened(name: str, width: int = DESKTOP, **options: Any) -> Tab:
            tabs.append(stack.enter_context(tab(browser, "file://", width, **options)))
            tabs[-1].page.goto(pages[name].as_uri())
            return tabs[-1]

        yield opened
        assert [error for each in tabs for error in each.errors] == []


def brightness(page: Page, selector: str, what: str) -> float:
    """Of a colour as it is computed: 0 black, 1 white."""
    found: str = page.eval_on_selector(selector, f"each => getComputedStyle(each).{what}")
    red, green, blue = (int(part) for part in found[found.index("(") + 1 : -1].split(",")[:3])
    return (red + green + blue) / (3 * 255)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_page_fits_its_window_and_draws_its_plots(show: Show, name: str, width: int) -> None:
    seen = show(name, width)
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)
        assert overflow(seen.page) == {}
        figures = seen.page.eval_on_selector_all("figure", f"all => all.map({DRAWN})")
        assert (len(figures) > 0) == (name in PLOTTED)
        for figure in figures:
            assert figure["shapes"] > 10, figure
            assert figure["texts"] > 5, figure
            assert figure["inside"], figure
        seen.picture(f"{name}-{width}-{scheme}", whole=scheme == "light")
        page, ink = brightness(seen.page, "body", "backgroundColor"), brightness(seen.page, "h1", "color")
        assert (page < 0.2 and ink > 0.8) if scheme == "dark" else (page > 0.9 and ink < 0.2)


@pytest.mark.parametrize("name", PLOTTED)
def test_no_table_is_clipped_on_a_phone(show: Show, name: str) -> None:
    page = show(name, PHONE).page
    assert page.evaluate(CLIPPED) == []
    if name == "run":  # each cell says what it is
        assert (
            page.locator("#table + .scroll tbody tr")
            .first.locator("td")
            .nth(1)
            .evaluate("each => getComputedStyle(each, '::before').content")
            == '"Pass@1"'
        )


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "light") for name in PAGES), ("run", "dark"), ("samples", "dark")]
)
def test_page_passes_axe(show: Show, name: str, scheme: str) -> None:
    """axe-core's rules: names, landmarks, order of headings, contrast, keyboard access of what scrolls."""
    found = Axe().run(show(name, PHONE, color_scheme=scheme).page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", PLOTTED)
def test_tab_key_reaches_every_table_and_link_and_shows_where_it_is(show: Show, name: str) -> None:
    page = show(name).page
    wanted = page.locator("a[href], [tabindex='0']").count()
    assert wanted > 2
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        element, outline = page.evaluate(FOCUSED)
        assert outline >= 2, element
        reached.add(element)
    assert len(reached) == wanted
    page.locator(".contents a", has_text="Plots").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#plots")).to_be_in_viewport()


@pytest.mark.parametrize("name", PLOTTED)
def test_page_prints_whole_on_white_paper(show: Show, name: str) -> None:
    seen = show(name, PAPER, color_scheme="dark")
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate(TOO_WIDE, PAPER) == []
    assert seen.page.evaluate(CUT_OFF) == []
    assert brightness(seen.page, "body", "backgroundColor") == 1
    assert brightness(seen.page, "h1", "color") < 0.2
    seen.picture(f"{name}-print")
    assert seen.page.pdf(format="A4").startswith(b"%PDF")


def test_samples_are_found_by_keyboard(show: Show) -> None:
    page = show("samples").page
    heading, count = page.locator("#problem h2"), page.locator("#count")
    expect(heading).to_have_text("Problem ladder-1-0")
    expect(page.locator("#problem article")).to_have_count(4)
    page.keyboard.press("j")
    expect(heading).to_have_text("Problem ladder-2-1")
    page.keyboard.press("k")
    expect(heading).to_have_text("Problem ladder-1-0")
    page.keyboard.press("/")
    assert page.evaluate(FOCUSED)[1] >= 2
    page.keyboard.type("24 + ")
    expect(count).to_have_text("0 answers to 0 problems.")
    page.get_by_label("Problem or text").fill("ladder-5-19")
    expect(count).to_have_text("4 answers to 1 problems.")
    expect(heading).to_have_text("Problem ladder-5-19")


def test_samples_are_filtered_and_coloured_by_confidence(show: Show) -> None:
    seen = show("samples")
    seen.page.get_by_label("Verdict").select_option("ungraded")
    expect(seen.page.locator("#count")).to_have_text("1 answers to 1 problems.")
    expect(seen.page.locator("#problem article header")).to_contain_text("ungraded")
    seen.page.get_by_label("Verdict").select_option("")
    expect(seen.page.locator("#count")).not_to_contain_text("1 answers")
    seen.page.goto(seen.page.url.split("#")[0] + "#ladder-1-0")
    expect(seen.page.locator("#problem h2")).to_have_text("Problem ladder-1-0")
    answer = seen.page.locator("#problem article .completion").first
    expect(answer.locator("span").first).to_be_visible()
    backgrounds = answer.locator("span").evaluate_all("all => all.map(each => getComputedStyle(each).backgroundColor)")
    assert len(set(backgrounds)) > 4
    assert "<b>x</b>" in seen.page.locator("#problem").inner_text()  # what a model writes stays text
    seen.page.get_by_label("Colour by confidence").uncheck()
    expect(answer.locator("span")).to_have_count(0)
