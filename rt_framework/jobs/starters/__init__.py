"""The writer of commented files to start from, for ``rt init``: a config, and a prompt file for the teacher."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from string import Template

from rt_framework.data import Destination, claim, whole
from rt_framework.errors import DataError
from rt_framework.text import shown

_RESPONSE = "  - reflect: response        # the teacher criticises and rewrites the answer"


def write_starters(data: Path | None, out: Path | None, prompt: Path | None) -> list[str]:
    """Write a config, a prompt file, or both; return a line on each with what to do next.

    Args:
        data: data set that the config names; without it a place for one.
        out: the config; ``rt.yaml`` when left out. With *prompt* it is written only if *data* or *out* is given.
        prompt: the prompt file; it gets the ending ``.md`` if it has none.

    Raises:
        DataError: *data* does not exist.
        ConfigError: one of the files exists, or must not be written; then none is written.
        DiskError: a file cannot be written.
    """
    if data is not None and not data.exists():
        raise DataError(f"{data}: no such file or directory; DATA is the data set, and --out names the config")
    prompt = None if prompt is None else _with_ending(prompt)
    texts: dict[Destination, str] = {}
    lines: list[str] = []
    if prompt is not None:
        texts[Destination(prompt, "--prompt")] = _text("prompt")
        show = f"rt reflect {data or 'DATA'} --prompt {prompt} --show"
        lines.append(f"wrote {prompt}; edit it, then: {show}; in a config it is: reflect: {{prompt: {prompt}}}")
    if prompt is None or out is not None or data is not None:
        out = out or Path("rt.yaml")
        texts[Destination(out)] = _config(out, data, prompt)
        parts = "teacher and student" if data else "data, teacher and student"
        lines.append(f"wrote {out}; set {parts} in it, then: rt run {out}")
    claim(texts, [] if data is None else [data])
    for destination, text in texts.items():
        with whole(destination) as part:
            part.write_text(text, "utf-8")
    return lines


def _with_ending(prompt: Path) -> Path:
    """Return the path with the ending ``.md`` if it has none; a name that is taken stays, and is refused."""
    taken = os.path.lexists(Path(os.path.realpath(prompt.parent), prompt.name))
    return prompt if prompt.suffix or taken else prompt.with_name(f"{prompt.name}.md")


def _config(out: Path, data: Path | None, prompt: Path | None) -> str:
    second = _RESPONSE if prompt is None else f"  - reflect: {{prompt: {_quoted(prompt)}}}   # your own prompt"
    return _text("config", name=shown(out), data="data.json" if data is None else _quoted(data), second=second)


def _quoted(path: Path) -> str:
    """Return a path in the quotes of YAML."""
    text = str(path)
    return json.dumps(text, ensure_ascii=shown(text) != text)  # a name that is not UTF-8 is written in escapes


def _text(starter: str, **words: str) -> str:
    return Template(resources.files(__name__).joinpath(f"{starter}.txt").read_text("utf-8")).substitute(words)
