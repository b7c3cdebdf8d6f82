"""Configuration of Sphinx: the site is made of the repository's Markdown files; docs/index.md gives the navigation."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).parent))
from from_code import filled

ROOT = Path(__file__).parent.parent

project = "rt-framework"
author = "the rt-framework authors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser"]
root_doc = "docs/index"
# The source is the whole repository, so that a link between two pages holds on the site as it does on a code host.
include_patterns = ["docs/**.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
include_patterns += ["plugins/README.md", "plugins/*/README.md", "tests/reliability/README.md"]
exclude_patterns = [".*", "**/.*", "**/node_modules", "docs/examples", "docs/gallery", "runs", "site", "build", "dist"]
myst_heading_anchors = 6
highlight_language = "none"
pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_site/site.css"]
html_css_files = ["site.css"]
html_extra_path = ["_site/index.html"]
html_copy_source = False
html_show_copyright = False

_TITLED = re.compile(r'^```(\w+) title="([^"]*)"$', re.MULTILINE)
_ENTRY = re.compile(r"^- \[([^\]]*)\]\(([^)#]*\.md)\)", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _captions(text: str) -> str:
    """The title of a code block, which names the file that it shows, becomes its caption."""
    return _TITLED.sub(r"```{code-block} \1\n:caption: \2\n", text)


def _navigation(index: str) -> str:
    """One group for each heading of the index: the first link of each point below it."""
    heads = list(_HEADING.finditer(index))
    ends = [*(head.start() for head in heads[1:]), len(index)]
    groups = [(head[1], _ENTRY.findall(index, head.end(), end)) for head, end in zip(heads, ends, strict=True)]
    return "".join(_toctree(caption, entries) for caption, entries in groups if entries)


def _toctree(caption: str, entries: list[tuple[str, str]]) -> str:
    lines = "\n".join(f"{name} <{path}>" for name, path in entries)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n"


def _read(_app: Sphinx, page: str, text: list[str]) -> None:
    text[0] = _captions(filled(text[0]))
    if page == root_doc:
        text[0] += _navigation(text[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
