"""Question forms: an answer in named parts, asked for as JSON or between markers, and read strictly.

A form goes below a sample's texts between :mod:`rt_framework.kit.fences`, and its markers carry the token of these.
Reading gives every part, each once and with nothing around it, or no answer at all; nothing is repaired.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from rt_framework.errors import PluginError
from rt_framework.kit.bounds import fault as number_fault
from rt_framework.kit.fences import END, marker
from rt_framework.kit.refusals import refuses
from rt_framework.model import Reply, Sampling, Unparsed
from rt_framework.text import visible

_ENDED_BADLY = {
    "length": Unparsed("truncated", "the answer was cut off by the token limit"),
    "content_filter": Unparsed("refused", "the provider's content filter stopped the answer"),
    "too_long": Unparsed("too_long", "the request does not fit the teacher's context window"),
}
_NAME = re.compile(r"[a-z]+")
_PLACEHOLDER = re.compile(r"<[a-z]+(?: [a-z]+)+>|<(?:critique|instruction|response|answer)>", re.IGNORECASE)


@frozen
class Wording:
    """The words of a form. They are sent to the teacher, so after a change of one every question is asked again."""

    json: str = "Answer with one JSON object and nothing else. Its keys, in this order:"
    """Line above the keys of a JSON answer."""
    markers: str = (
        "Answer in the form below and write nothing before or after it. Copy the lines in double brackets exactly, "
        "each once; put your own text in place of each line in angle brackets."
    )
    """Instruction to the teacher that precedes the list of markers."""
    repair: str = "This is attempt {attempt}: an earlier answer could not be used. Keep strictly to the form."
    """Paragraph that every request after the first has at its end; ``{attempt}`` stands for its number."""


def _listed(numbers: Iterable[float]) -> tuple[float, ...]:
    return tuple(numbers)


@frozen
class Part:
    """A part of an answer: a text, or a number where numbers are given."""

    meaning: str
    """Description of the part, as the teacher reads it."""
    numbers: tuple[float, ...] = field(default=(), converter=_listed)
    """Numbers to choose from. A teacher without a schema may answer with any number between the extremes of these."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON schema of the part. Numbers are listed: in a range a small model may write digits without end."""
        return {"type": "number", "enum": list(self.numbers)} if self.numbers else {"type": "string", "minLength": 1}

    def value(self, text: str) -> str | float:
        """Return a text between markers as JSON would have it: plain digits as a number, if the part is one.

        There may be no more digits before the point than the numbers have, and no exponent.
        """
        if not self.numbers:
            return text
        digits = len(str(int(max(map(abs, self.numbers)))))
        sign = "-?" if min(self.numbers) < 0 else ""
        number = re.fullmatch(rf"{sign}[0-9]{{1,{digits}}}(?:\.[0-9]+)?", text.strip())
        return text if number is None else float(number.group())


@frozen
class Answer:
    """The parts of an answer that was read."""

    texts: Mapping[str, str]
    """Text parts by name, without white space around them."""
    numbers: Mapping[str, float]
    """Number parts by name."""


class _MalformedError(Exception):
    """An answer that does not have the requested form."""


@frozen
class Form:
    """Named parts of an answer, in the order in which the teacher writes them.

    The order matters: a reason that comes first is thought about before the mark that follows from it.

    Raises:
        PluginError: a name is not made of small letters, is ``end``, or a number cannot be computed with.
    """

    parts: Mapping[str, Part]
    wording: Wording = Wording()

    def __attrs_post_init__(self) -> None:
        for name, part in self.parts.items():
            if not _NAME.fullmatch(name) or name == END:
                raise PluginError(f"form: {name!r} cannot name a part: use small letters a to z, and not {END!r}")
            wrong = next(filter(None, map(number_fault, part.numbers)), None)
            if wrong:
                raise PluginError(f"form: each of the numbers of {name} {wrong}")

    def schema(self) -> Mapping[str, Any]:
        """Return the JSON schema of the answer, with its properties in the order of the parts."""
        return {
            "type": "object",
            "properties": {name: part.schema for name, part in self.parts.items()},
            "required": list(self.parts),
            "additionalProperties": False,
        }

    def ask(self, token: str, index: int, structured: bool) -> list[str]:
        """Return the paragraphs that ask for an answer in this form.

        Args:
            token: token of the request's fences.
            index: index of the answer, from 0. A later request says that an earlier answer could not be used.
            structured: True for a JSON object, False for parts between markers.
        """
        if structured:
            lines = [self.wording.json, *(f'"{name}": {part.meaning}' for name, part in self.parts.items())]
        else:
            shown = (f"{marker(name, token)}\n<{part.meaning}>" for name, part in self.parts.items())
            lines = [self.wording.markers, *shown, marker(END, token)]
        repair = [self.wording.repair.replace("{attempt}", str(index + 1))] if index else []
        return ["\n".join(lines), *repair]

    def read(self, reply: Reply, token: str, structured: bool) -> Answer | Unparsed:
        """Return every part of the answer, or the reason why the answer cannot be used.

        Args:
            reply: the raw answer.
            token: token of the request's fences.
            structured: whether JSON was asked for; else parts between markers.
        """
        fault = incomplete(reply)
        if fault is not None:
            return fault
        try:
            values = self._json_values(reply.text) if structured else self._marked_values(reply.text, token)
            return Answer(
                {name: self._text(name, values[name]) for name, part in self.parts.items() if not part.numbers},
                {name: _number(name, values[name], part) for name, part in self.parts.items() if part.numbers},
            )
        except _MalformedError as error:
            if refuses(reply.text):
                return Unparsed("refused", "the teacher refused instead of answering in the form")
            return Unparsed("format", str(error))

    def _json_values(self, text: str) -> dict[str, Any]:
        """Return the values of an answer that is one JSON object with exactly the names of the parts as keys."""
        try:
            values = json.loads(text.strip(), object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            raise _MalformedError("the answer is not one JSON object and nothing else") from error
        if not isinstance(values, dict) or set(values) != set(self.parts):
            raise _MalformedError(f"the answer is not a JSON object of exactly {', '.join(self.parts)}")
        return values

    def _marked_values(self, text: str, token: str) -> dict[str, Any]:
        """Return the parts of an answer with markers as JSON would have them, with plain digits as numbers."""
        texts = _marked_texts(text, tuple(self.parts), token)
        return {name: part.value(texts[name]) for name, part in self.parts.items()}

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise _MalformedError(f"{name} is not a string")
        text = value.strip()
        if not visible(text):
            raise _MalformedError(f"{name} is blank")
        placeholders = {*(part.meaning for part in self.parts.values()), *(f"<{name}>" for name in self.parts)}
        if text in placeholders or text.strip("<>") in placeholders or _PLACEHOLDER.fullmatch(text):
            raise _MalformedError(f"{name} is a placeholder")
        return text


def incomplete(reply: Reply) -> Unparsed | None:
    """Return why a reply is no complete answer: cut off, stopped by a filter, or empty; ``None`` for a complete one."""
    if reply.finish_reason in _ENDED_BADLY:
        return _ENDED_BADLY[reply.finish_reason]
    return None if visible(reply.text) else Unparsed("empty", "the answer is empty")


def sampling(index: int, max_tokens: int = 1024, first: float = 0.0, later: float = 0.7) -> Sampling:
    """Return the sampling parameters of the *index*-th request.

    A later request has another temperature and seed, since the same ones would give the same unusable answer.

    Args:
        index: index of the answer, from 0.
        max_tokens: longest answer in tokens.
        first: temperature of the first request.
        later: temperature of the requests after it.
    """
    return Sampling(temperature=later if index else first, max_tokens=max_tokens, seed=index or None)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise _MalformedError("a key of the JSON object occurs twice")
    return dict(pairs)


def _marked_texts(text: str, names: Sequence[str], token: str) -> dict[str, str]:
    """Return the parts of an answer, each of which follows its marker, up to the marker called ``end``."""
    # The pattern captures the name, so the list is: text before, then name and text in turn.
    before, *marked = re.split(rf"\[\[([a-z]+) {token}\]\]", text)
    markers, texts = marked[::2], marked[1::2]
    if END not in markers:
        raise _MalformedError("the end marker is missing")
    if markers != [*names, END]:
        raise _MalformedError(f"the parts are not {', '.join(names)}, each once and in this order")
    if before.strip() or texts[-1].strip():
        raise _MalformedError("there is text outside the form")
    if any(token in part for part in texts):
        raise _MalformedError("a part contains a delimiter line of the request")
    return dict(zip(names, texts, strict=False))


def _number(name: str, value: object, part: Part) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _MalformedError(f"{name} is not a number")
    least, most = min(part.numbers), max(part.numbers)
    if not least <= value <= most:
        raise _MalformedError(f"{name} is not between {least:g} and {most:g}")
    return float(value)
