"""Language of a text, as py3langid guesses it from the bytes: more than a hundred languages, offline."""

from __future__ import annotations

import math

UNSURE = "unsure"
"""Stand-in for a language where the text is too short, or the identifier is not sure."""

LEAST_LETTERS = 20
"""Least number of letters that a text needs: `[1, 2, 3]` is in no language."""
READ = 500
"""Number of characters that are read: more of them make the guess no surer."""
SURE = 0.5
"""Least share at which a language is believed. Of 445 English responses, none is then taken for another language and
37 are ``unsure``; at 0.3 one is mistaken, and without a bound eleven are: lists of names and code."""


def language(text: str) -> str:
    """Return the code of a text's language, such as ``en``, or :data:`UNSURE`.

    The identifier gives each language a naive Bayes log-probability l. A softmax at the temperature √n, for a text of
    n bytes, turns that of the likeliest into a share: 1 / Σ exp((l − max l) / √n).
    """
    import py3langid

    if sum(map(str.isalpha, text)) < LEAST_LETTERS:
        return UNSURE
    read = text[:READ].encode("utf-8", "replace")
    (code, best), *others = py3langid.rank(read)
    share = 1 / math.fsum([1, *(math.exp((score - best) / math.sqrt(len(read))) for _, score in others)])
    return str(code) if share >= SURE else UNSURE
