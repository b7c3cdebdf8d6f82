"""The report in a browser: every filter, order and search, without a message on its console or a request.

Needs a Chromium or Chrome on the machine (``RT_CHROMIUM`` names one that is elsewhere); nothing is downloaded.
``RT_REPORT_RUN`` names a finished run of ``tests/rewriting_teacher.py`` with another student to look at instead.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rt_framework.report import write_report
from rt_framework.testing import ScriptedTeacher
from tests.reliability.test_18_hostile_text import hostile_rows, rewriting
from tests.rewriting_teacher import RewritingTeacher
from tests.run_helpers import GATES, SELECTIVE, go, job, rows, side

ALPACA = Path(__file__).parents[2] / "shared" / "data" / "alpaca_500.json"
CHROMIUM = os.environ.get("RT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WHOLE = [*SELECTIVE, {"measure": ["ifd", "r-ifd"]}, *GATES]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; RT_CHROMIUM may name one")


@pytest.fixture(scope="module")
def browser(run_dir: Path, hostile: Path) -> Iterator[Browser]:
    """One browser for all. The runs are made before it: while it is open its event loop is the thread's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 500 samples: real rows where they are at hand, with a student that needs no model."""
    if given := os.environ.get("RT_REPORT_RUN"):
        write_report(Path(given))
        return Path(given)
    folder = tmp_path_factory.mktemp("report")
    data = json.loads(ALPACA.read_text("utf-8")) if ALPACA.exists() else rows(500)
    run_dir = folder / "run"
    go(job(folder, data, WHOLE), run_dir, RewritingTeacher())
    write_report(run_dir)
    return run_dir


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose data, critiques and model names are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    run_dir = folder / "run"
    go(job(folder, hostile_rows(), WHOLE), run_dir, ScriptedTeacher(rewriting))
    write_report(run_dir)
    return run_dir


FOREIGN = """() => [...document.querySelectorAll("body *")].filter((one) =>
    /^(img|iframe|object|embed|link|base|meta)$/i.test(one.tagName)
    || [...one.attributes].some(({ name }) => name.startsWith("on") || name === "src")).length"""
"""How many elements could load or run something."""


class Watched:
    """A page, and everything that it asked for or said on its console."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        # A page that scrolls smoothly would move away from under the pointer.
        self.context = browser.new_context(reduced_motion="reduce", **options)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def close(self) -> None:
        """It must have been quiet, and have asked for nothing but itself."""
        self.context.close()
        assert self.said == []
        assert len(self.asked) == 1


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens reports, and looks at the end at what they said."""
    pages: list[Watched] = []

    def open_report(run_dir: Path, **options: Any) -> Page:
        pages.append(Watched(browser, run_dir / "report.html", **options))
        return pages[-1].page

    yield open_report
    for page in pages:
        page.close()


def listed(page: Page) -> list[int]:
    """Rows of all samples listed, over all pages of the list."""
    found: list[int] = []
    while True:
        found += [int(text) for text in page.locator("#list tbody th").all_inner_texts()]
        if page.locator("#forth").is_disabled():
            return found
        page.locator("#forth").click()


def counted(page: Page) -> int:
    """Return the number of listed samples that the page shows."""
    return int(page.locator("#count").inner_text().split()[0].replace(",", ""))


def test_every_filter_lists_what_the_run_says(run_dir: Path, opened: Callable[..., Page]) -> None:
    """By outcome with its version or reason, by failed rewrites, and both together."""
    page, lines = opened(run_dir), side(run_dir)
    assert counted(page) == len(lines) == len(listed(page))
    options = page.locator("#end option").evaluate_all("all => all.map(one => [one.value, one.textContent])")
    assert len(options) > 3
    total = 0
    for value, label in options[1:]:
        page.select_option("#end", value)
        assert counted(page) == int(label.rsplit("(", 1)[1].rstrip(")").replace(",", ""))
        total += counted(page)
    assert total == len(lines)
    page.locator("button[type=reset]").click()
    expect(page.locator("#end")).to_have_value("")
    page.select_option("#also", "failed")
    assert listed(page) == [line["row"] for line in lines if line["failures"]]


def test_every_order_is_one(run_dir: Path, opened: Callable[..., Page]) -> None:
    """Lowest and highest first, by each column; what has no number comes last in both."""
    page, lines = opened(run_dir), side(run_dir)
    ifd = {line["row"]: line["scores"].get("original", {}).get("ifd") for line in lines}
    known = {row: float(f"{value:.5g}") for row, value in ifd.items() if isinstance(value, float)}
    for order, sign in (("up", 1), ("down", -1)):
        page.select_option("#sort", "ifd before")
        page.select_option("#order", order)
        found = listed(page)
        assert found[: len(known)] == sorted(known, key=lambda row: (sign * known[row], row))
        assert set(found) == set(ifd)
    for name in page.locator("#sort option").all_inner_texts():
        page.select_option("#sort", name)
        assert counted(page) == len(lines)


def test_search_finds_words_anywhere(run_dir: Path, opened: Callable[..., Page]) -> None:
    """In texts, critiques and reasons, in any order and case; an id finds one sample; nonsense none."""
    page, lines = opened(run_dir), side(run_dir)
    page.fill("#search", "STOPS early begins")
    assert counted(page) > 100
    page.fill("#search", lines[7]["id"])
    assert listed(page) == [lines[7]["row"]]
    page.fill("#search", "filter does not like")
    assert listed(page) == [
        line["row"] for line in lines if any("does not like" in one["reason"] for one in line["failures"])
    ]
    page.fill("#search", "xyzzy plugh")
    assert counted(page) == 0


def test_a_sample_is_told_whole(run_dir: Path, opened: Callable[..., Page]) -> None:
    """Its difference word by word, the critique, scores, decisions and reasons; by keyboard, with steps and a link."""
    page, lines = opened(run_dir), side(run_dir)
    line = next(line for line in lines if line["kept"] == "instruction.response")
    page.fill("#search", line["id"])
    page.locator("#list tbody button").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#sample h3")
    told = page.locator("#sample").inner_text()
    for decision in line["decisions"]:
        assert decision["reason"] in told
    assert "critique for version instruction.response" in told
    page.locator("#sample select").nth(2).select_option("word by word")
    assert page.locator("#sample ins").count() > 0
    page.locator("#sample select").nth(2).select_option("side by side")
    assert page.locator("#sample ins").count() == 1  # the legend's
    page.locator("#sample select").nth(1).select_option("instruction")
    assert page.locator("#sample select").nth(1).input_value() == "instruction"
    page.fill("#search", "")
    page.goto(f"{page.url.split('#')[0]}#sample={lines[9]['id']}")
    expect(page.locator("#sample h3")).to_contain_text(f"Row {lines[9]['row']},")
    page.get_by_role("button", name="next").click()
    expect(page.locator("#sample h3")).to_contain_text(f"Row {lines[10]['row']},")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_everybody_can_read_it(scheme: str, width: int, run_dir: Path, opened: Callable[..., Page]) -> None:
    """Axe finds nothing, in light and dark; nothing is wider than a phone, and every chart has a name."""
    page = opened(run_dir, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.locator("#list tbody button").first.click()
    page.wait_for_selector("#sample h3")
    page.evaluate(Path(AXE_FILE_PATH).read_text("utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    charts = page.locator("svg[role=img]").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert len(charts) > 5 and all(charts)


def test_it_can_be_read_without_scripts(run_dir: Path, browser: Browser) -> None:
    """The tables and what to look out for are there."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((run_dir / "report.html").as_uri())
    text = page.locator("main").inner_text()
    assert "Outcomes" in text and "need JavaScript" in text
    context.close()


def test_hostile_text_stays_text(hostile: Path, opened: Callable[..., Page]) -> None:
    """Every sample shown: no element, attribute or request that the page does not make for harmless text."""
    page = opened(hostile)
    for at in range(page.locator("#list tbody button").count()):
        page.locator("#list tbody button").nth(at).click()
        expect(page.locator("#sample h3")).to_contain_text(f"Row {at},")
        assert page.evaluate(FOREIGN) == 0
        assert page.locator("script").count() == 4
