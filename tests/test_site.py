"""The site: it builds without a warning, every page stands in its navigation, and it loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.helpers import REPO
from tests.test_report_page import CHROMIUM, FLAGS

pytest.importorskip("myst_nb", reason="needs the extra `docs`")

PICTURES = sorted((REPO / "docs" / "pictures").glob("*.dot"))


class _Page(HTMLParser):
    """The addresses that a page loads, and its pictures without a description."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.undescribed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(str(given["src"]))
        if tag == "link" and given.get("rel") not in ("canonical", "search", "index", "next", "prev"):
            self.loads.append(str(given["href"]))
        if tag == "img" and len(given.get("alt") or "") < 20:
            self.undescribed.append(str(given["src"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-n", "-c", "docs", ".", str(out)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # the kernel of the notebook may write there too
    return out


def pages(site: Path) -> dict[str, str]:
    """Every page of it."""
    return {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}


def test_every_page_of_docs_is_in_the_navigation(site: Path) -> None:
    """The sidebar of the front page has a link to every page."""
    (tree,) = re.findall(r'<div class="sidebar-tree">(.*?)</div>', pages(site)["docs/index.html"], re.DOTALL)
    found = {(site / "docs" / link).resolve() for link in re.findall(r'href="([^"#]+)"', tree)}
    sources = [
        path
        for path in (REPO / "docs").rglob("*.md")
        if path.name != "index.md" and path.parent.name not in ("examples", "gallery")
    ]
    assert [path for path in sources if (site / path.relative_to(REPO)).with_suffix(".html") not in found] == []


def test_the_first_address_leads_to_the_front_page(site: Path) -> None:
    """The page at the root of the site redirects to the front page."""
    (there,) = re.findall(r"url=([^\"]+)", pages(site)["index.html"])
    assert (site / there).exists()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No font, script, style or picture: the site works without a network, and tells no one who reads it."""
    loads = {load for text in pages(site).values() for load in _Page(text).loads}
    assert loads
    assert [load for load in loads if "//" in load] == []
    styles = "".join(path.read_text("utf-8") for kind in ("css", "svg") for path in site.rglob(f"*.{kind}"))
    assert re.findall(r"@import[^;]*|url\(\W*(?:https?:)?//[^)]*", styles) == []


def test_every_picture_is_described(site: Path) -> None:
    """Every picture has a description of 20 characters or more, for readers who cannot see it."""
    assert {name: bare for name, text in pages(site).items() if (bare := _Page(text).undescribed)} == {}


def test_titles_of_code_blocks_are_shown(site: Path) -> None:
    """The reader sees which file it is."""
    assert "docs/examples/metric.py" in re.sub("<[^>]*>", "", pages(site)["docs/how-to/write-a-metric.html"])


def test_the_notebook_is_shown_with_its_outputs(site: Path) -> None:
    """Its cells are run when the site is built, so that the reader sees what they give today."""
    outputs = re.findall(r'<div class="cell_output.*?</pre>', pages(site)["docs/notebook.html"], re.DOTALL)
    assert len(outputs) >= 4
    assert "r-ifd" in outputs[0]


# --- in a browser -----------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; RT_CHROMIUM may name one")


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Browser]:
    """One browser for all. The site is built before it: while it is open its event loop is the thread's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_is_quiet(site: Path, browser: Browser, scheme: str) -> None:
    """At 390 px only tables and code scroll sideways. No page asks for anything elsewhere, or reports an error."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    wide = []
    every = pages(site).keys() - {"index.html"}  # which leads to the front page
    for name in every if scheme == "light" else ["docs/index.html", "docs/gallery.html", "docs/notebook.html"]:
        page.goto((site / name).as_uri())
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")
    page.close()
    assert (wide, said, [url for url in asked if not url.startswith("file:")]) == ([], [], [])
    assert dark == (scheme == "dark")


@needs_browser
def test_a_reader_finds_and_copies(site: Path, browser: Browser) -> None:
    """The search leads to the page about a word, and the button of a command copies it without prompt and output."""
    page = browser.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q=perplexity")
    page.locator("#search-results a", has_text="The whole in five minutes").first.click()
    page.goto((site / "docs/gallery.html").as_uri())
    command = page.locator(".highlight-console", has_text="rt run selective.yaml")
    command.hover()
    command.locator("button.copybtn").click()
    page.locator("input[name=q]").press("Control+v")
    copied = page.locator("input[name=q]").input_value()
    page.close()
    assert copied == "rt run selective.yaml --dry-run"


@pytest.mark.parametrize("source", PICTURES, ids=lambda source: source.stem)
def test_pictures_are_drawn_from_their_sources(source: Path) -> None:
    """A changed label was drawn: `make pictures`."""
    svg = re.sub(r"<title>[^<]*</title>", "", source.with_suffix(".svg").read_text("utf-8"))
    labels = re.findall(r'label=(?:"([^"]*)"|<(.*?)>[,\]])', source.read_text("utf-8"), re.DOTALL)
    assert _words(svg) == _words(" ".join(re.sub(r"\\[lnr]", " ", quoted or html) for quoted, html in labels))


def _words(marked_up: str) -> Counter[str]:
    return Counter(unescape(re.sub(r"<[^>]*>", " ", marked_up)).split())
