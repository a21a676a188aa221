"""The report in a real browser: on a phone and a desk, light and dark, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from analysis.questions.findings import Believed
from analysis.report import assembly, notebooks, writing
from analysis.rundir.run import open_run
from tests.support.runs.report_findings import cache_findings
from tests.support.runs.synthetic_run import Truth, write_run
from tests.support.servers.chromium import chromium

pytestmark = [pytest.mark.browser, pytest.mark.integration]

WIDTHS = (360, 1280)
"""CSS pixels: a small phone held upright, and a laptop."""

OVERFLOWING = """() => [...document.querySelectorAll("body *")].filter((element) => {
  const box = element.getBoundingClientRect();
  const scrolls = element.closest(".table") && element !== element.closest(".table");
  const hidden = element.closest(".skip, .hidden, thead") && innerWidth < 700;
  return box.width > 1 && (box.right > innerWidth + 1 || box.left < -1)
    && !scrolls && !hidden && !element.matches(".skip");
}).map((element) => element.outerHTML.slice(0, 120))"""
"""Whatever sticks out of the window, but for tables, which scroll within themselves."""

CONTRAST = """() => {
  const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map((one) => channel(one / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const ratio = (colour) => {
    const [one, two] = [light(colour), ground].sort((a, b) => b - a);
    return (one + 0.05) / (two + 0.05);
  };
  const seen = [...document.querySelectorAll("p, dd, dt, td, th, h1, h2, h3, a, summary")]
    .filter((element) => element.innerText.trim());
  const inks = [...document.querySelectorAll("figure svg text")].map((text) =>
  getComputedStyle(text).fill); return Math.min(...seen.map((element) =>
  ratio(getComputedStyle(element).color)),
    ...inks.map(ratio));
}"""
"""The least contrast of any text to the page's ground, by WCAG's formula."""


@pytest.fixture(name="report", scope="module")
def _report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "run"
    run = open_run(write_run(folder, Truth(rates_per_s=(10.0, 20.0), pairs=2, block_s=1.5)))
    document = assembly.assemble(run, cache_findings(), jaeger_url="http://127.0.0.1:16686")
    return writing.write(document, cache_findings(), run.path)


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class _Visit:
    """The page as opened once, and what the browser said and asked for meanwhile."""

    def __init__(self, browser: Browser, report: Path, **how: Any) -> None:  # noqa: ANN401 - playwright's own
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page: Page = browser.new_context(**how).new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._ask)
        self.page.goto(report.as_uri())

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.said.append(message.text)

    def _ask(self, request: Request) -> None:
        if not request.url.startswith(("data:", "file:")):
            self.asked.append(request.url)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_is_quiet_and_can_be_read(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    """Nothing overflows, the console is silent, no address is asked, text stands out enough."""
    visit = _Visit(browser, report, viewport={"width": width, "height": 800}, color_scheme=scheme)
    visit.page.evaluate(
        "document.querySelectorAll('details').forEach((one) => { one.open = true })"
    )
    scrolls_to = visit.page.evaluate("document.documentElement.scrollWidth")

    assert visit.page.evaluate(OVERFLOWING) == []
    assert scrolls_to <= width
    assert visit.said == []
    assert visit.asked == []
    assert visit.page.evaluate(CONTRAST) >= 3.0


def test_each_width_shows_its_own_form_of_a_figure(browser: Browser, report: Path) -> None:
    """A phone sees the narrow form, a desk the wide one, never both."""
    seen = {}
    for width in WIDTHS:
        page = _Visit(browser, report, viewport={"width": width, "height": 800}).page
        seen[width] = [
            page.locator(f"figure .{form}").first.is_visible() for form in ("wide", "narrow")
        ]

    assert seen == {360: [False, True], 1280: [True, False]}


def test_figures_follow_the_theme(browser: Browser, report: Path) -> None:
    """The same words of a figure are dark on light and light on dark."""
    ink = "getComputedStyle(document.querySelector('.headline svg text')).fill"
    inks = {
        scheme: _Visit(browser, report, color_scheme=scheme).page.evaluate(ink)
        for scheme in ("light", "dark")
    }

    assert inks["light"] != inks["dark"]


def test_a_screen_reader_meets_every_figure_by_name(browser: Browser, report: Path) -> None:
    """In the tree that assistive technology reads, each figure is one image with a sentence."""
    page = _Visit(browser, report).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    images = page.get_by_role("img").all()
    names = [image.get_attribute("aria-label") for image in images]

    assert len(names) == page.locator("figure").count() > 5
    assert all(name and len(name) > 20 for name in names)


def test_a_trace_id_is_copied_by_a_click(browser: Browser, report: Path) -> None:
    """The button copies the id and says so."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(report.as_uri())
    button = page.locator(".trace button[data-copy]").first
    button.click()
    page.wait_for_function("document.querySelector('.trace button').textContent === 'copied'")

    assert page.evaluate("navigator.clipboard.readText()") == button.get_attribute("data-copy")


def test_it_prints_light_with_all_tables_open(browser: Browser, report: Path) -> None:
    """On paper the ground is white even from a dark screen, and folded tables are there."""
    page = _Visit(browser, report, color_scheme="dark").page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(254, 254, 254)"
    assert page.locator("details:not([open])").count() == 0
    assert len(page.pdf()) > 10_000


def test_a_notebooks_page_loads_nothing(browser: Browser, tmp_path: Path) -> None:
    """As HTML it asks nobody for anything, runs no script, shows its figures, fits a phone.

    One stands for all: they differ by what lies in their cells, of which the browser is told to
    load nothing.
    """
    source = notebooks.sources()[0]
    book = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call] # untyped library
    path = tmp_path / "book.html"
    path.write_text(notebooks.page(book, source.stem), encoding="utf-8")
    visit = _Visit(browser, path, viewport={"width": 360, "height": 800})
    drawn = "[...document.images].map((one) => one.naturalWidth > 0)"

    assert (visit.asked, visit.said) == ([], [])
    assert visit.page.locator("script").count() == 0
    assert set(visit.page.evaluate(drawn)) == {True}
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_an_invalid_run_is_said_in_red(browser: Browser, tmp_path: Path) -> None:
    """The first words after the title are INVALID and why, red on both grounds.

    No figure above.
    """
    run = open_run(write_run(tmp_path / "run", Truth(rates_per_s=(10.0,), pairs=1, block_s=1.0)))
    invalid = Believed(verdict="INVALID", reasons=("The load missed its rate.",))
    found = replace(cache_findings(), verdict=invalid)
    report = writing.write(assembly.assemble(run, found), found, run.path)
    for scheme in ("light", "dark"):
        page = _Visit(browser, report, color_scheme=scheme).page
        alert = page.get_by_role("alert")
        colour = alert.locator("p").evaluate("(one) => getComputedStyle(one).color")
        red, green, blue = (int(part) for part in colour[4:-1].split(","))

        assert alert.inner_text().startswith("INVALID")
        assert red > green + 80
        assert red > blue + 80
        assert page.locator(".headline").count() == 0
