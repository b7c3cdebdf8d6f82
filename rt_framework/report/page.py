"""The page: facts, samples, styles and scripts in one HTML file, under a policy that lets nothing in or out."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

from attrs import frozen
from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from rt_framework.ledger import KEPT
from rt_framework.report.facts import Facts
from rt_framework.report.samples import BLOCK, Compressed
from rt_framework.report.survey import Survey
from rt_framework.report.tables import version_words
from rt_framework.report.texts import fit

_ASSETS = files("rt_framework.report") / "assets"

_SCRIPTS = ("dom.js", "data.js", "charts.js", "sample.js", "browser.js", "main.js")
"""Files that are joined into one script, in this order."""


@frozen
class Page:
    """The page without the texts of the samples.

    Args:
        facts: its words and tables.
        metrics: the metrics that have numbers.
        numbers: the :func:`columns`, compressed.
    """

    facts: Facts
    metrics: tuple[str, ...]
    numbers: str

    @property
    def size(self) -> int:
        """Size of the page in bytes, without the texts of the samples."""
        return sum(len(piece.encode("utf-8")) for piece in self.pieces(Compressed((), None)))

    def pieces(self, texts: Compressed) -> Iterator[str]:
        """Yield the whole page as HTML, piece by piece, as the blocks of texts are made."""
        scripts = (_read("vendor/vendor.js"), "\n".join(map(_read, _SCRIPTS)))
        return pieces(
            "page.html.j2",
            scripts,
            facts=self.facts,
            columns=self.numbers,
            blocks=texts.blocks,
            clip=texts.clip,
            metrics=self.metrics,
        )


def pieces(template: str, scripts: tuple[str, ...] = (), **content: Any) -> Iterator[str]:
    """Yield a page of one of our templates, with the styles, these scripts, and a policy that allows only them."""
    style = _read("page.css")
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=select_autoescape(default=True, default_for_string=True, enabled_extensions=("j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).generate(
        policy=_policy(style, scripts),
        style=Markup(style),  # noqa: S704 - our own file
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own files
        **content,
    )


def columns(survey: Survey) -> Iterator[tuple[str, Any]]:
    """Yield the lines of all samples by column, with its name, as the page's scripts read them."""
    lines = survey.lines
    words, became = _coded(
        f"{line.outcome}\t{version_words(line.kept) if line.outcome in KEPT else line.why}" for line in lines
    )
    yield "block", BLOCK
    yield "id", [line.id for line in lines]
    yield "row", [line.row for line in lines]
    yield "head", [line.head for line in lines]
    yield "ends", [word.split("\t") for word in words]
    yield "end", became
    yield "metrics", list(survey.metrics)
    yield "before", [[_short(line.before.get(metric)) for line in lines] for metric in survey.metrics]
    yield "after", [[_short(line.after.get(metric)) for line in lines] for metric in survey.metrics]
    yield "lengthBefore", [line.length_before for line in lines]
    yield "lengthAfter", [line.length_after for line in lines]
    yield "near", [int(line.near) for line in lines]
    yield "failed", [list(line.failed) for line in lines]
    links = [[*source, *target, count] for source, target, count in _worded(survey)]
    yield "flow", {"stages": [fit(stage) for stage in survey.stages], "links": links}


def _worded(survey: Survey) -> Any:
    for (start, before), (end, after), count in survey.flow:
        yield (start, _state(before)), (end, _state(after)), count


def _state(state: str) -> str:
    return state if ": " in state else version_words(state)


def _coded(values: Iterable[str]) -> tuple[list[str], list[int]]:
    """Return the distinct values, and for each value its position among them."""
    words: dict[str, int] = {}
    places = [words.setdefault(value, len(words)) for value in values]
    return list(words), places


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _policy(style: str, scripts: tuple[str, ...]) -> str:
    """Return a policy that allows rt's style and scripts by their hashes, and no request, image, form or frame."""
    allowed = " ".join(_hash(script) for script in scripts) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"


def _read(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8").strip("\n")
