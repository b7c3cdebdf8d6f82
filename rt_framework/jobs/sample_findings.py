"""Findings of ``rt doctor`` about student, template and data, from the scores of a few samples."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from attrs import frozen

from rt_framework.jobs.shown_parts import Shown, part_findings
from rt_framework.kit.estimates import share
from rt_framework.kit.spread import Spread
from rt_framework.model import Finding
from rt_framework.scoring import ScoringRules

METRICS = ("ifd", "r-ifd")

_USUAL = 0.1
"""Share of samples with a score above 1 up to which a metric is not flagged.

Measured with SmolLM2-135M-Instruct, preset chat and 64 Alpaca rows, for ifd and r-ifd: 0 and 0 % with its own chat
template; 0 and 0 % with those of Llama 2 and 3 and without any; 3 and 6 % with vicuna, 6 and 14 % with alpaca; 42 and
8 % with a template that leaves the pair out; 86 and 61 % with the responses shuffled. So a larger share shows an
instruction that does not reach the student, or that belongs to another response, and hardly ever the format of
another family.
"""

_NO_PROOF = ". These values do not prove that the template is that of the model: another one can give the same"

_TRY = {
    "ifd": (
        "A share this large suggests that the student does not see the instruction, or that it belongs to another "
        "response: try another --template or preset chat, and check that --shape and --column name the right columns"
    ),
    "r-ifd": (
        "A share this large suggests that the response does not help to predict its instruction: the student does not "
        "see the response, or it belongs to another instruction"
    ),
}
_USUAL_LACKING = 0.1
"""Share of samples without a score up to which the check is not flagged."""


@frozen
class Looked:
    """Measurements on a random draw of samples."""

    framing: ScoringRules
    total: int
    """Number of samples of the data."""
    drawn: int
    """Number of samples that were drawn and scored."""
    leads: bool
    """True if the tokenizer puts a BOS before every text."""
    headed: bool
    """True if a header of the template stands before a target that is scored alone."""
    cut: int
    """Number of samples with a target that is cut at its end, because it does not fit behind its prompt."""
    longest: int
    """Length of the longest sequence in tokens."""
    shown: dict[str, Shown]
    """Parts of conversations that the samples have, and how often the student sees them."""
    values: dict[str, tuple[float, ...]]
    """Scores of the drawn samples, by metric."""
    without: dict[str, tuple[int, str]]
    """Samples that lack a score, by status: their number, and the reason of the first one."""
    tokens: int
    """Number of tokens in all forward passes over the drawn samples."""
    seconds: float
    """Seconds that these forward passes took, without loading the model."""
    path: str
    """Forward path by which the losses were computed."""
    all_seconds: float
    """Estimate of *seconds* for the whole data, in proportion to its characters."""


def findings(looked: Looked) -> Iterator[Finding]:
    """Yield the findings, in words, to which the measurements lead."""
    framing = looked.framing
    yield Finding("sample", f"{looked.drawn} of {looked.total} samples, drawn at random")
    yield Finding("scored by", f"preset {framing.preset.name}, template {framing.template}")
    yield Finding("BOS", _bos(looked))
    yield _fits(looked)
    yield from part_findings(looked.shown)
    yield _numbers(looked)
    yield from (_above(looked, name) for name in METRICS)
    yield Finding("forward path", looked.path)
    yield Finding("pace", _pace(looked))


def _bos(looked: Looked) -> str:
    preset = looked.framing.preset
    if looked.leads:
        return "the tokenizer adds a BOS token before every text"
    told = f"the tokenizer adds no BOS token. Under preset {preset.name} "
    if looked.headed:
        return f"{told}this does not matter: words of the template precede every target"
    if preset.join == "ids":
        return f"{told}both forward passes leave out the first token of a target, so their losses are comparable"
    return (
        f"{told}a text scored alone has no prediction for its first token, as in the published code: that forward pass "
        "counts one token less, which matters for short targets. Preset chat avoids this"
    )


def _fits(looked: Looked) -> Finding:
    limit = looked.framing.max_tokens
    most = "the model's own limit" if limit is None else f"max_tokens {limit}"
    room, _ = looked.without.get("no_room", (0, ""))
    if not looked.cut + room:
        return Finding("length", f"every target fits ({most}); the longest sequence has {looked.longest} tokens")
    return Finding(
        "length",
        f"{_of(looked.cut, looked.drawn)} have a target that is cut at its end, {_of(room, looked.drawn)} have no room "
        f"for a target ({most}): these are scored in part, or not at all. Give a larger --max-tokens if the student "
        "supports it",
        sure=False,
    )


def _numbers(looked: Looked) -> Finding:
    lacking = sum(count for count, _ in looked.without.values())
    if not lacking:
        return Finding("numbers", "every sample has both scores")
    why = "; ".join(f"{count} {status} ({reason})" for status, (count, reason) in looked.without.items())
    few = share(lacking, looked.drawn, looked.total).low <= _USUAL_LACKING
    told = f"{_of(lacking, looked.drawn)} lack a score: {why}"
    return Finding("numbers", told, good=lacking < looked.drawn, sure=few)


def _above(looked: Looked, name: str) -> Finding:
    values = looked.values[name]
    spread = Spread.of(values)
    if spread is None:
        return Finding(name, "no sample has this score", good=False)
    above = sum(value > 1 for value in values)
    told = (
        f"median {spread.median:.2f}, quartiles {spread.low:.2f} and {spread.high:.2f}; above 1 in "
        f"{_of(above, len(values))}; up to {100 * _USUAL:.0f} % is usual"
    )
    if share(above, len(values), max(looked.total, len(values))).low <= _USUAL:
        return Finding(name, f"{told}{_NO_PROOF}" if name == "ifd" else told)
    return Finding(name, f"{told}. {_TRY[name]}", sure=False)


def _pace(looked: Looked) -> str:
    if not looked.tokens:
        return "nothing was computed"
    whole, rate = timedelta(seconds=round(looked.all_seconds)), looked.tokens / max(looked.seconds, 1e-9)
    return (
        f"{looked.tokens} tokens in {looked.seconds:.1f} s, {rate:.0f}/s without loading the model. Scoring all "
        f"{looked.total} samples by ifd and r-ifd takes about {whole} here, estimated from their characters"
    )


def _of(count: int, total: int) -> str:
    return f"{count} of {total} samples ({100 * count / total:.1f} %)"
