"""The writer of commented files to start from, for ``rt init``: a config, and a prompt file for the teacher."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from string import Template

from rt_framework.config import Data, spec_of
from rt_framework.data import Destination, claim, whole
from rt_framework.errors import DataError, PluginError
from rt_framework.jobs.starters.found import Found, look
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host
from rt_framework.text import shown

_DATA = """\
  path: data.json            # JSON, JSON lines, CSV, Parquet or a Hugging Face data set directory
  # columns: {instruction: question, output: answer}   # our field: your column"""
_TEACHER = """\
teacher: litellm:openai/gpt-4o-mini
# teacher: hf:Qwen/Qwen3-8B                 # a local model, no key
# teacher: replay:answers.jsonl             # recorded answers"""
_STUDENT = "student: hf:Qwen/Qwen2.5-1.5B"
_OTHER_TEMPLATE = "  template: {}           # since the tokenizer of the student has no chat template"
_TEMPLATE = "  # template: chat           # or alpaca, vicuna, wizardlm, none; the preset's own when left out"
_PARTS = ("data", "teacher", "student")
_RESPONSE = "  - reflect: response        # the teacher criticises and rewrites the answer"
_PLAIN = re.compile(r"[\w./][\w./@:+-]*[\w./]")
"""Parts that YAML reads as texts without quotes."""


def write_starters(
    host: Host,
    data: Data | None,
    out: Path | None,
    prompt: Path | None,
    student: str | None = None,
    teacher: str | None = None,
) -> list[str]:
    """Write a config, a prompt file, or both; return lines on what was seen of the data, and on what to do next.

    Args:
        host: finds the plugins.
        data: data set that the config names, which is looked at; without it a place for one.
        out: the config; ``rt.yaml`` when left out. With *prompt* it is written only if something else is given.
        prompt: the prompt file; it gets the ending ``.md`` if it has none.
        student: the student, as a config names it.
        teacher: the teacher, as a config names it, or a model as litellm names it.

    Raises:
        DataError: *data* does not exist, or cannot be read.
        PluginError: there is no such student or teacher.
        ConfigError: one of the files exists, or must not be written; then none is written.
        DiskError: a file cannot be written.
    """
    inputs = _inputs(data)
    prompt = None if prompt is None else _with_ending(prompt)
    teacher = None if teacher is None else _teacher(host, teacher)
    spec = None if student is None else _student(host, student)
    texts: dict[Destination, str] = {}
    lines: list[str] = []
    if prompt is not None:
        texts[Destination(prompt, "--prompt")] = _text("prompt")
        lines.append(_next_of_prompt(prompt, data))
    if prompt is None or any(one is not None for one in (out, data, student, teacher)):
        config = Destination(out or Path("rt.yaml"))
        claim([*texts, config], inputs)  # before the data is read
        found = None if data is None else look(host, data, spec)
        texts[config] = _config(config.path, found, prompt, student, teacher)
        lines = [*(found.lines if found else ()), *lines, _next(config.path, data, teacher, student)]
    else:
        claim(texts, inputs)
    for destination, text in texts.items():
        with whole(destination) as part:
            part.write_text(text, "utf-8")
    return lines


def _inputs(data: Data | None) -> list[Path]:
    """Return the file or folder that a data set is on this machine.

    Raises:
        DataError: there is no such file.
    """
    if data is None or data.is_on_hub:
        return []
    if not Path(data.path).exists():
        raise DataError(f"{data.path}: no such file or directory; DATA is the data set, and --out names the config")
    return [Path(data.path)]


def _next_of_prompt(prompt: Path, data: Data | None) -> str:
    show = f"rt reflect {data.path if data else 'DATA'} --prompt {prompt} --show"
    return f"wrote {prompt}; edit it, then: {show}; in a config it is: reflect: {{prompt: {prompt}}}"


def _next(out: Path, *parts: object) -> str:
    """Return what to do with the config, in which those of :data:`_PARTS` are to be set that are ``None``."""
    *most, last = [name for name, part in zip(_PARTS, parts, strict=True) if part is None] or [""]
    unset = f"{', '.join(most)} and {last}" if most else last
    check = f"set {unset} in it" if unset else f"check it with: rt doctor {out}"
    return f"wrote {out}; {check}, then: rt run {out}"


def _student(host: Host, text: str) -> Spec:
    """Return a student as a config names it.

    Raises:
        PluginError: there is no such student.
    """
    spec = spec_of(text, "--student")
    host.find("students", spec.name)
    return spec


def _teacher(host: Host, text: str) -> str:
    """Return a teacher as a config names it; a text such as ``openai/gpt-5-mini`` is a model of litellm.

    Raises:
        PluginError: there is no such teacher.
    """
    name = spec_of(text, "--teacher").name
    if "/" in name:
        return f"litellm:{text}"
    try:
        host.find("teachers", name)
    except PluginError as error:
        raise PluginError(f"{error} A model of an API is PROVIDER/MODEL, such as openai/gpt-5-mini.") from None
    return text


def _with_ending(prompt: Path) -> Path:
    """Return the path with the ending ``.md`` if it has none; a name that is taken stays, and is refused."""
    taken = os.path.lexists(Path(os.path.realpath(prompt.parent), prompt.name))
    return prompt if prompt.suffix or taken else prompt.with_name(f"{prompt.name}.md")


def _config(out: Path, found: Found | None, prompt: Path | None, student: str | None, teacher: str | None) -> str:
    reflect = _RESPONSE if prompt is None else f"  - reflect: {{prompt: {_quoted(str(prompt))}}}   # your own prompt"
    template = found.template if found else None
    return _text(
        "config",
        name=shown(out),
        data=_DATA if found is None else "\n".join(_data(found)),
        teacher=_TEACHER if teacher is None else f"teacher: {_part(teacher)}",
        student=_STUDENT if student is None else f"student: {_part(student)}",
        template=_TEMPLATE if template is None else _OTHER_TEMPLATE.format(template),
        pipeline=_text("conversations" if found and found.turned else "pipeline", reflect=reflect).rstrip(),
    )


def _data(found: Found) -> Iterator[str]:
    """Yield the lines on the data; what is found by itself is left out."""
    data = found.data
    path = f"  path: {_quoted(data.path)}"
    yield f"{path:<28} # {found.summary}"
    for key, value in {"format": data.format, "shape": data.shape}.items():
        if value is not None:
            yield f"  {key}: {_part(value)}"
    if data.columns:
        columns = ", ".join(f"{field}: {_quoted(column)}" for field, column in data.columns.items())
        yield f"  columns: {{{columns}}}   # our field: your column"
    if data.trained == "marked":
        yield "  trained: marked            # every assistant turn that the data does not mark as untrained"
    elif found.chats:
        yield "  trained: last              # the last assistant turn counts; or all: every one"
    if data.unreadable == "drop":
        yield "  unreadable: drop           # leaves out the rows that cannot be read"


def _part(text: str) -> str:
    """Return a part as YAML: a name with or without a value, in quotes if it needs them; other YAML as it is."""
    if text.startswith(("{", "[")):
        return text
    if ": " in text:  # a mapping, which needs its braces behind a key
        return f"{{{text}}}"
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    """Return a text in the quotes of YAML."""
    return json.dumps(text, ensure_ascii=shown(text) != text)  # a name that is not UTF-8 is written in escapes


def _text(starter: str, **words: str) -> str:
    return Template(resources.files(__name__).joinpath(f"{starter}.txt").read_text("utf-8")).substitute(words)
