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

extensions = ["myst_nb", "sphinx_copybutton"]
root_doc = "docs/index"
nb_execution_mode = "force"  # the notebook stores no outputs
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell, on a machine that does other work too
nb_execution_in_temp = True
# What is typed has a button that copies it, without the prompt; what a command prints has none.
copybutton_selector = "div:not(.highlight-none):not(.output) > div.highlight > pre"
copybutton_prompt_text = "$ "
# The source is the whole repository, so that a link between two pages holds on the site as it does on a code host.
include_patterns = ["docs/**.md", "docs/notebook.ipynb", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
include_patterns += ["plugins/README.md", "plugins/*/README.md", "tests/reliability/README.md"]
exclude_patterns = [
    ".*",
    "**/.*",
    "**/node_modules",
    "docs/examples",
    "docs/gallery",
    "runs",
    "site",
    "jupyter_execute",
    "build",
    "dist",
]
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
_ENTRY = re.compile(r"^- \[([^\]]*)\]\(([^)#]*\.(?:md|ipynb))\)", re.MULTILINE)
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAMS = r"rt|pip|make|cd|cp|python|trl|vllm|llama-server|source|export|[A-Z_]+=\S+"
_TYPED = re.compile(rf"(?P<prompt>\$ )?(?:{_PROGRAMS}) ")


def _captions(text: str) -> str:
    """The title of a code block, which names the file that it shows, becomes its caption."""
    return _TITLED.sub(r"```{code-block} \1\n:caption: \2\n", text)


def _typed(text: str) -> str:
    """A block without a language that begins with a command is coloured as one; any other shows what was printed."""

    def coloured(block: re.Match[str]) -> str:
        typed = None if block[1] else _TYPED.match(block[2])
        return block[0] if typed is None else f"```{'console' if typed['prompt'] else 'sh'}\n{block[2]}```"

    return _BLOCK.sub(coloured, text)


def _navigation(index: str) -> str:
    """One group for each heading of the index: the first link of each point below it."""
    heads = list(_HEADING.finditer(index))
    ends = [*(head.start() for head in heads[1:]), len(index)]
    made, part = "", ""
    for head, end in zip(heads, ends, strict=True):
        caption = head[2] if head[1] == "##" else f"{part}: {head[2].lower()}"
        part = head[2] if head[1] == "##" else part
        entries = _ENTRY.findall(index, head.end(), end)
        made += _toctree(caption, entries) if entries else ""
    return made


def _toctree(caption: str, entries: list[tuple[str, str]]) -> str:
    lines = "\n".join(f"{name} <{path}>" for name, path in entries)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n"


def _read(_app: Sphinx, page: str, text: list[str]) -> None:
    text[0] = _typed(_captions(filled(text[0])))
    if page == root_doc:
        text[0] += _navigation(text[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
