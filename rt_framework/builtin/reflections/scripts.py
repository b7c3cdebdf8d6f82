"""Detection of the writing systems of a text, to notice an answer in another language than the original."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

_JAPANESE = {"HIRAGANA", "KATAKANA"}
_MIN_LETTERS = 20
_MAIN_SHARE = 0.6
_TRACE = 0.05


def scripts(text: str) -> Counter[str]:
    """Return the number of letters by script, such as ``LATIN``; Chinese characters and kana both count as ``CJK``."""
    # Compatibility forms (full-width, mathematical) count as the letters that they stand for.
    found: Counter[str] = Counter()
    for char, count in Counter(unicodedata.normalize("NFKC", text)).items():
        if char.isalpha():
            found[_script(char)] += count
    return found


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0]
    return "CJK" if name in _JAPANESE else name


def drift(old: str, new: str) -> tuple[str, str] | None:
    """Return the main scripts of the old and the new text, if the new one is foreign to the old text; else ``None``.

    Each text needs 20 letters, more than 60 % of them in its main script. A script with at least 5 % of the old letters
    is not foreign, because a translation exercise holds two scripts.
    """
    if old.isascii() and new.isascii():  # both are Latin
        return None
    before, after = scripts(old), scripts(new)
    if min(before.total(), after.total()) < _MIN_LETTERS:
        return None
    (was, many), (became, more) = before.most_common(1)[0], after.most_common(1)[0]
    main = many > _MAIN_SHARE * before.total() and more > _MAIN_SHARE * after.total()
    foreign = before[became] < _TRACE * before.total()
    return (was, became) if main and foreign else None
