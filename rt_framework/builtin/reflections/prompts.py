"""Prompts for the teacher: a system text, a user text with fields for texts of the sample, and the answer's form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from attrs import frozen

from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.kit.fences import fenced, fenced_response, fenced_turn
from rt_framework.kit.form import Form
from rt_framework.model import Pair

FIELDS = ("instruction", "input", "response", "history", "system")
"""Names of the fields: the texts of a sample that a user text can show."""

FIELD = re.compile(rf"[ \t]*\{{\{{[ \t]*({'|'.join(FIELDS)})[ \t]*\}}\}}[ \t]*")
"""Pattern of a line that is a field. Fences are lines, so a field within a line is not one."""

_GAP = re.compile(r"(\n(?:[ \t]*\n)+)")
"""Blank lines between two paragraphs."""


@frozen
class Field:
    """A place in the user text for the texts of the sample that have this name."""

    name: str


Block = tuple[str | Field, ...]
"""Paragraphs without a field as one text, or a paragraph with fields as texts and fields in turn."""


@frozen
class Prompt:
    """A question to the teacher, without its sample."""

    system: str
    user: tuple[Block, ...]
    form: Form
    """Form of the answer."""
    rewrites: Mapping[str, str]
    """Part of the answer that replaces a text of the pair, by the name of that text."""
    sampling: ReflectionSettings = ReflectionSettings()

    def question(self, pair: Pair, token: str, index: int, structured: bool) -> str:
        """Return the user message: the user text with the sample's texts, and the paragraphs that ask for the form."""
        texts = _fenced_texts(pair, token)
        shown = (_written(block, texts) for block in self.user)
        return "\n\n".join([*filter(None, shown), *self.form.ask(token, index, structured)])

    @cached_property
    def own_texts(self) -> tuple[str, ...]:
        """The words of a request that are not from a sample."""
        wording = self.form.wording
        user = (item for block in self.user for item in block if isinstance(item, str))
        return (self.system, *user, wording.json, wording.markers, wording.repair)


def blocks_of(text: str) -> tuple[Block, ...]:
    """Return a user text as blocks. Paragraphs without a field stay together, with the blank lines between them."""
    gap, blocks = "", list[Block]()
    for number, piece in enumerate(_GAP.split(text.strip())):
        if number % 2:
            gap = piece
            continue
        block = _block(piece)
        if blocks and _is_plain(block) and _is_plain(blocks[-1]):
            blocks[-1] = (f"{blocks[-1][0]}{gap}{block[0]}",)
        else:
            blocks.append(block)
    return tuple(blocks)


def _block(paragraph: str) -> Block:
    items: list[str | Field] = []
    for line in paragraph.split("\n"):
        field = FIELD.fullmatch(line)
        if field:
            items.append(Field(field[1]))
        elif items and isinstance(items[-1], str):
            items[-1] += f"\n{line}"
        else:
            items.append(line)
    return tuple(items)


def _is_plain(block: Block) -> bool:
    return not any(isinstance(item, Field) for item in block)


def _fenced_texts(pair: Pair, token: str) -> dict[str, Sequence[str]]:
    """Return the texts that each field shows, between fences. A sample without input, say, has none for that field."""
    return {
        "system": [] if pair.system is None else [fenced("system", token, pair.system)],
        "history": [fenced_turn(turn, token) for turn in pair.history],
        "instruction": [fenced("instruction", token, pair.instruction)],
        "input": [fenced("input", token, pair.input)] if pair.input else [],
        # A reader can only judge a response after what the tools have said before it.
        "response": [*(fenced_turn(turn, token) for turn in pair.since), fenced_response(pair, token)],
    }


def _written(block: Block, texts: Mapping[str, Sequence[str]]) -> str:
    """Return a block with the sample's texts; empty if it has fields and the sample has no text for any of them.

    The texts are put in as they are: what looks like a field in them is not one.
    """
    shown = [texts[item.name] if isinstance(item, Field) else [item] for item in block]
    if not _is_plain(block) and not any(texts[item.name] for item in block if isinstance(item, Field)):
        return ""
    return "\n\n".join(text for group in shown for text in group)
