"""The site: it builds without a warning, every page stands in its navigation, and it loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.helpers import REPO

pytest.importorskip("myst_parser", reason="needs the extra `docs`")

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
    assert (done.returncode, done.stderr) == (0, "")
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


@pytest.mark.parametrize("source", PICTURES, ids=lambda source: source.stem)
def test_pictures_are_drawn_from_their_sources(source: Path) -> None:
    """A changed label was drawn: `make pictures`."""
    svg = re.sub(r"<title>[^<]*</title>", "", source.with_suffix(".svg").read_text("utf-8"))
    labels = re.findall(r'label=(?:"([^"]*)"|<(.*?)>[,\]])', source.read_text("utf-8"), re.DOTALL)
    assert _words(svg) == _words(" ".join(re.sub(r"\\[lnr]", " ", quoted or html) for quoted, html in labels))


def _words(marked_up: str) -> Counter[str]:
    return Counter(unescape(re.sub(r"<[^>]*>", " ", marked_up)).split())
