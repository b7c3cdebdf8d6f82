"""Which language a text is in, as py3langid guesses from its bytes: more than a hundred languages, offline."""

from __future__ import annotations

import math

UNSURE = "unsure"
"""In place of a language where the text is too short, or the identifier is not sure of one."""

LEAST_LETTERS = 20
"""Letters that a text needs: `[1, 2, 3]` is in no language."""
READ = 500
"""Characters that are read: more make it no surer."""
SURE = 0.5
"""Share from which on a language is believed. Of 445 English responses none is then taken for another language, at 0.3
one is, and without a bound eleven are, lists of names and code; 37 are ``unsure``."""


def language(text: str) -> str:
    """The code of a text's language, such as ``en``, or :data:`UNSURE`.

    The identifier gives each language a naive Bayes log-probability l. That of the likeliest is made a share by a
    softmax at the temperature √n for a text of n bytes: 1 / Σ exp((l − max l) / √n).
    """
    import py3langid

    if sum(map(str.isalpha, text)) < LEAST_LETTERS:
        return UNSURE
    read = text[:READ].encode("utf-8", "replace")
    (code, best), *others = py3langid.rank(read)
    share = 1 / math.fsum([1, *(math.exp((score - best) / math.sqrt(len(read))) for _, score in others)])
    return str(code) if share >= SURE else UNSURE
