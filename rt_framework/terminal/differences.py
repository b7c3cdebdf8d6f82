"""Marks on the words by which two texts differ."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from rich.text import Text

from rt_framework.terminal.printing import safe

_GONE, _NEW = "red strike", "bold green"

_MOST = 4000
"""Most words of both texts together; longer ones are not compared, which would take seconds."""

_SAME = 0.3
"""Least share of words that two texts have in common for the marks to help: else nearly every word has one."""


def marked(before: str, after: str) -> tuple[Text, Text]:
    """Return both texts made harmless, with marks on the words that are gone in the first and new in the second."""
    old, new = safe(before), safe(after)
    old_words, new_words = _words(old.plain), _words(new.plain)
    if len(old_words) + len(new_words) > _MOST:
        return old, new
    match = SequenceMatcher(None, [word for word, _ in old_words], [word for word, _ in new_words])
    if match.ratio() < _SAME:
        return old, new
    for _, gone, gone_end, come, come_end in (code for code in match.get_opcodes() if code[0] != "equal"):
        for _, place in old_words[gone:gone_end]:
            old.stylize(_GONE, *place)
        for _, place in new_words[come:come_end]:
            new.stylize(_NEW, *place)
    return old, new


def _words(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Return each word of a text with its first and last place."""
    return [(found.group(), found.span()) for found in re.finditer(r"\S+", text)]
