"""Reading of prompt files: YAML front matter on the answer, then the system text and the user text of the request."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from attrs import evolve, fields

from rt_framework.builtin.reflections.prompts import FIELD, FIELDS, Field, Prompt, blocks_of
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.errors import ConfigError, PluginError
from rt_framework.kit.form import Form, Part, Wording
from rt_framework.kit.user_files import Place, parse_yaml_lines, read_user_file
from rt_framework.text import suggestion, visible

_WORDING = Wording(
    json="""\
Answer with one JSON object and nothing else: no text around it and no code block. \
Each of its values is a string that is not empty. Its keys, in this order:""",
    markers="""\
Answer in the form below and write nothing before or after it. Copy the lines in double brackets exactly, \
each of them once; replace each line in angle brackets by your text, as long as it needs to be.""",
    repair="""\
This is attempt {attempt}: an earlier answer could not be used. Keep strictly to the form: every part, \
each of them once, all of them written out and complete.""",
)

_WITH_NUMBERS = evolve(
    _WORDING,
    json=_WORDING.json.replace(
        "that is not empty.", "that is not empty, or one of the numbers in brackets after its key."
    ),
)

_EDGE = "---"
_USER = re.compile(r"-{3,}[ \t]*user[ \t]*-{3,}[ \t]*", re.IGNORECASE)
_MEANT = re.compile(rf"\{{\{{\s*[^\W\d]|\{{\s*(?:{'|'.join(FIELDS)})\s*\}}\}}")
"""Pattern of braces that are meant as a field: two before a word, or two after the name of a field."""
_NAMED = re.compile(r"\{\{?\s*([^{}]*?)\s*\}")

_TARGETS = ("instruction", "input", "response")
_SAMPLING = tuple(field.name for field in fields(ReflectionSettings))
_KEYS = ("parts", *_SAMPLING, "wording")


@lru_cache(maxsize=8)
def packaged_prompt(name: str) -> Prompt:
    """Return a prompt of this package."""
    file = f"{name}.md"
    return parse_prompt(resources.files(__package__).joinpath(file).read_text("utf-8"), file)


def read_prompt(path: str) -> Prompt:
    """Return the prompt in a file of the user.

    Raises:
        ConfigError: the file cannot be used; the message names the file, the line, and the way out.
    """
    return parse_prompt(read_user_file(Path(path), "prompt", "rt init --prompt NAME"), path)


def parse_prompt(text: str, file: str) -> Prompt:
    """Return the prompt in the text of a file, whose name is for messages.

    Raises:
        ConfigError: as :func:`read_prompt`.
    """
    lines = text.split("\n")
    front_end, user = _sections(lines, file)
    _check_fields(lines, front_end, user, file)
    front = _FrontMatter("\n".join(lines[1:front_end]), file)
    parts, rewrites = front.parts()
    wording = front.wording(_WITH_NUMBERS if any(part.numbers for part in parts.values()) else _WORDING)
    system = "\n".join(lines[front_end + 1 : user]).strip()
    blocks = blocks_of("\n".join(lines[user + 1 :]))
    if not visible(system):
        raise _wrong(file, front_end + 1, "the system text is empty: write below this line what the teacher has to do")
    if not any(isinstance(item, Field) for block in blocks for item in block):
        why = "the user text shows nothing of the sample: put a field such as {{ response }} on a line of its own"
        raise _wrong(file, user + 1, why)
    return Prompt(system, blocks, Form(parts, wording), rewrites, front.sampling())


def _sections(lines: Sequence[str], file: str) -> tuple[int, int]:
    """Return the indexes of the line that ends the front matter and of the line above the user text."""
    edges = [index for index, line in enumerate(lines) if line.rstrip() == _EDGE]
    if not edges or edges[0] != 0:
        start = "'rt init --prompt NAME' writes a commented prompt to start from"
        raise _wrong(file, 1, f"the first line must be '{_EDGE}', above the front matter; {start}")
    if len(edges) == 1:
        raise _wrong(file, 1, f"the front matter has no end: put a line '{_EDGE}' below it")
    users = [index for index, line in enumerate(lines) if index > edges[1] and _USER.fullmatch(line)]
    if not users:
        why = "there is no user text: put a line '--- user ---' between the system text and the user text"
        raise _wrong(file, edges[1] + 1, why)
    if len(users) > 1:
        raise _wrong(file, users[1] + 1, "a second line '--- user ---': a prompt has one user text, so remove it")
    return edges[1], users[0]


def _check_fields(lines: Sequence[str], front_end: int, user: int, file: str) -> None:
    """Check that everything in the file that is meant as a field is one, and that each stands in the user text."""
    for index, line in enumerate(lines):
        is_comment = index < front_end and line.lstrip().startswith("#")
        if is_comment or not _MEANT.search(line):
            continue
        named = _NAMED.search(line)
        name = named[1] if named else ""
        if named and name not in FIELDS:
            why = f"unknown field '{{{{ {name} }}}}'.{suggestion(name, FIELDS)} Known: {', '.join(FIELDS)}."
        elif not FIELD.fullmatch(line):
            why = f"a field stands on a line of its own, written as {{{{ {name or 'response'} }}}}"
        elif index < user:
            why = f"the field '{name}' stands above the user text: put it below the line '--- user ---'"
        else:
            continue
        raise _wrong(file, index + 1, f"{why.removesuffix('.')}; to write two braces as text, put a space between them")


class _FrontMatter:
    """The front matter of a prompt file, read key by key; every error names the line of its key."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        values, self._lines = parse_yaml_lines(text, file, above=1)
        self._values = self._mapping((), {} if values is None else values, _KEYS)

    def parts(self) -> tuple[dict[str, Part], dict[str, str]]:
        """Return the parts of the answer, in order, and the part that rewrites each text of the pair."""
        parts: dict[str, Part] = {}
        rewrites: dict[str, str] = {}
        given = self._values.get("parts")
        if not isinstance(given, Mapping) or not given:
            raise self._fault(
                ("parts",), "name the parts of the answer, each with what it holds, as a mapping 'parts:'"
            )
        for name, value in given.items():
            place = ("parts", str(name))
            options = self._mapping(place, {"meaning": value} if isinstance(value, str) else value, _PART_KEYS)
            parts[str(name)] = self._part(place, name, options)
            if "rewrites" in options:
                target = self._target((*place, "rewrites"), options)
                if target in rewrites:
                    raise self._fault(place, f"two parts rewrite {target}: {rewrites[target]} and {name}; keep one")
                rewrites[target] = str(name)
        if not rewrites:
            raise self._fault(("parts",), f"no part rewrites anything: give one of them 'rewrites:' {_or(_TARGETS)}")
        return parts, rewrites

    def sampling(self) -> ReflectionSettings:
        """Return the sampling parameters."""
        given: dict[str, Any] = {name: self._number(name) for name in _SAMPLING if name in self._values}
        return evolve(ReflectionSettings(), **given)

    def wording(self, default: Wording) -> Wording:
        """Return the words that ask for the form, those of *default* where the file has none."""
        known = [field.name for field in fields(Wording)]
        given = self._mapping(("wording",), self._values.get("wording", {}), known)
        return evolve(default, **{name: self._text(("wording", name), text) for name, text in given.items()})

    def _part(self, place: Place, name: object, options: Mapping[str, Any]) -> Part:
        meaning = self._text((*place, "meaning"), options.get("meaning"))
        if "\n" in meaning:
            raise self._fault((*place, "meaning"), "the meaning of a part is one line")
        numbers = options.get("numbers", [])
        if not isinstance(numbers, list) or ("numbers" in options and not numbers):
            raise self._fault((*place, "numbers"), "'numbers' is a list of the numbers to choose from: [1, 2, 3]")
        if not isinstance(name, str):  # YAML 1.1 reads words such as 'no' as a truth value
            raise self._fault(place, f"{name!r} cannot name a part: use small letters a to z")
        try:
            part = Part(meaning, numbers)
            Form({name: part})
        except PluginError as error:
            raise self._fault(place, str(error).removeprefix("form: ")) from error
        shown = f"{meaning} ({', '.join(f'{number:g}' for number in numbers)})"  # a teacher may not get the schema
        return Part(shown, numbers) if numbers else part

    def _target(self, place: Place, options: Mapping[str, Any]) -> str:
        target = options["rewrites"]
        if target not in _TARGETS:
            near = suggestion(target, _TARGETS) if isinstance(target, str) else ""
            raise self._fault(place, f"a part rewrites {_or(_TARGETS)}, not {target!r}{near and '.'}{near}")
        if "numbers" in options:
            raise self._fault(place, f"a number cannot rewrite {target}: leave out 'rewrites' or 'numbers'")
        return str(target)

    def _number(self, name: str) -> float:
        value = self._values[name]
        is_whole = isinstance(getattr(ReflectionSettings(), name), int)
        if is_whole and type(value) is not int:
            raise self._fault((name,), f"{name} must be a whole number, not {value!r}")
        try:
            evolve(ReflectionSettings(), **{name: value})
        except ConfigError as error:
            raise self._fault((name,), str(error)) from error
        return value if is_whole else float(value)

    def _text(self, place: Place, value: object) -> str:
        if not isinstance(value, str) or not visible(value):
            raise self._fault(place, f"'{place[-1]}' of {place[-2]} must be a text that is not empty")
        return value.strip()

    def _mapping(self, place: Place, value: object, known: Collection[str]) -> Mapping[str, Any]:
        what = f"'{place[-1]}'" if place else "the front matter"
        if not isinstance(value, Mapping):
            raise self._fault(place, f"{what} must be a mapping with the keys {', '.join(known)}")
        for key in map(str, value):
            if key not in known:
                why = f"unknown key '{key}' in {what}.{suggestion(key, known)} Known: {', '.join(known)}."
                raise self._fault((*place, key), why)
        return value

    def _fault(self, place: Place, why: str) -> ConfigError:
        """Return the error about a place, with the line of the nearest key above it that is there."""
        while place and place not in self._lines:
            place = place[:-1]
        return _wrong(self._file, self._lines.get(place, 1), why)


_PART_KEYS = ("meaning", "rewrites", "numbers")


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _wrong(file: str, line: int, why: str) -> ConfigError:
    return ConfigError(f"{file}, line {line}: {why}")
