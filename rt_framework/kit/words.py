"""Words of a text, for comparisons of texts."""

from __future__ import annotations

import re
from itertools import islice

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese characters: these scripts put no spaces between words."""

WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
"""Pattern of a word: a run of letters and digits; in a script without spaces, one character."""


def words(text: str, most: int | None = None) -> list[str]:
    """Return the words of a text in small letters, without punctuation; the first *most* of them."""
    return [match.group().casefold() for match in islice(WORD.finditer(text), most)]
