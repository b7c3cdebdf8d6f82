"""Checks for ``rt doctor`` of student, template and data together, by scoring a few samples before all of them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rt_framework.config import MAIN, Builder, Data, ScoringConfig
from rt_framework.data import Source, open_source
from rt_framework.errors import RtError, Unscorable
from rt_framework.jobs.install_checks import check_rows
from rt_framework.jobs.sample_findings import METRICS, Looked, findings
from rt_framework.jobs.shown_parts import shown_parts
from rt_framework.kit.parts import Spec
from rt_framework.ledger import Ledger
from rt_framework.model import Finding, Pair
from rt_framework.pipeline import PROBE, ScoringSide, scoring_side
from rt_framework.plugin import Host
from rt_framework.protocols import Student
from rt_framework.rundir import LEDGER
from rt_framework.scoring import BatchLimits, PresetSpans, ScoringRules
from rt_framework.spans import EncodedSpan, Span, SpanLoss
from rt_framework.text import number_of


async def look(host: Host, source: Source, student: Spec, config: ScoringConfig, count: int, seed: int) -> Looked:
    """Score *count* samples, drawn at random from all of *source*, by IFD and r-IFD.

    The losses are kept in a temporary directory, which is deleted afterwards.

    Raises:
        RtError: the data cannot be read, or the student cannot score it at all.
    """
    make, framing = Builder(host), ScoringRules.of(config)
    total, letters = 0, 0
    for sample in source.samples():
        total, letters = total + 1, letters + _letters(sample.original.pair)
    pairs = [sample.original.pair for sample in source.drawing(count, seed).samples()]
    with tempfile.TemporaryDirectory(prefix="rt-doctor-") as place, Ledger.writing(Path(place) / LEDGER) as ledger:
        chain = scoring_side(make, {MAIN: student}, config, ledger)
        side = chain.main
        try:
            await chain.scoring.check(PROBE, METRICS)
            frame = PresetSpans(framing.preset, make.spec("templates", framing.template), framing.max_tokens)
            fits = [_fit(side.student, frame, pair) for pair in pairs]
            shown = shown_parts(side.student, frame, pairs)
            # The first forward pass loads the model, so it is not timed.
            await chain.scoring.score([PROBE], METRICS)
            values, without, tokens, seconds = await _scored(chain, pairs)
            path = BatchLimits.of(side.student).path
        finally:
            await chain.close()
    return Looked(
        framing=framing,
        total=total,
        drawn=len(pairs),
        leads=_leads(side.student),
        headed=framing.preset.direct == "header" and bool(frame.template.header()),
        cut=sum(cut for cut, _ in fits),
        longest=max(longest for _, longest in fits),
        shown=shown,
        values=values,
        without=without,
        tokens=tokens,
        seconds=seconds,
        path=path,
        all_seconds=seconds * letters / max(sum(map(_letters, pairs)), 1),
    )


def _letters(pair: Pair) -> int:
    """Return the number of characters of all texts that are scored or stand before a scored text."""
    return sum(len(turn.content) for turn in (*pair.before, pair.last))


async def _scored(
    chain: ScoringSide, pairs: Sequence[Pair]
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[int, str]], int, float]:
    began, before = time.monotonic(), chain.counts().tokens
    scores = await chain.scoring.score(pairs, METRICS)
    seconds = time.monotonic() - began
    values = {name: tuple(v for one in scores if (v := one[name].value) is not None) for name in METRICS}
    lacking = [next((score for score in one.values() if score.value is None), None) for one in scores]
    counts = Counter(score.status for score in lacking if score is not None)
    first = {score.status: str(score.reason) for score in reversed(lacking) if score is not None}
    without = {status: (count, first[status]) for status, count in counts.most_common()}
    return values, without, chain.counts().tokens - before, seconds


def _fit(student: Student, frame: PresetSpans, pair: Pair) -> tuple[bool, int]:
    """Return whether a target of the pair is cut, and the length of the pair's longest sequence in tokens."""
    try:
        spans = [*frame.response_given_instruction(pair), *frame.instruction_given_response(pair)]
    except Unscorable:
        return False, 0
    encoded = [one for one in student.encode(spans) if isinstance(one, EncodedSpan)]
    return any(one.cut for one in encoded), max((len(one.ids) for one in encoded), default=0)


def first_rows(make: Builder, student: Student, config: ScoringConfig, pairs: Iterable[Pair]) -> Finding:
    """Return how the first rows of a data set stand before the student's tokenizer; the model is not loaded.

    Raises:
        RtError: the tokenizer cannot be loaded, or the scoring rules do not fit.
    """
    rules = ScoringRules.of(config)
    frame = PresetSpans(rules.preset, make.spec("templates", rules.template), rules.max_tokens)
    rows, longest, lacking = 0, 0, Counter[str]()
    for pair in pairs:
        rows += 1
        try:
            spans = [*frame.response_given_instruction(pair), *frame.instruction_given_response(pair)]
            encoded = student.encode(spans)
        except Unscorable as error:
            lacking[error.status] += 1
            continue
        lost = next((one.status for one in encoded if isinstance(one, SpanLoss)), None)
        lost = lost or next(("cut" for one in encoded if not isinstance(one, SpanLoss) and one.cut), None)
        lacking.update([lost] if lost else [])
        longest = max([longest, *(len(one.ids) for one in encoded if not isinstance(one, SpanLoss))])
    if not lacking:
        return Finding("student: rows", f"the first {rows} rows fit; the longest has {longest} tokens")
    why = ", ".join(f"{count} {status}" for status, count in lacking.most_common())
    whole = lacking.total() == rows
    return Finding("student: rows", f"of the first {rows} rows these have no whole score: {why}", not whole, sure=False)


def _leads(student: Student) -> bool:
    """Return whether a token stands before a text scored alone, so that the text's first token has a prediction too."""
    text = "The quick brown fox jumps over the lazy dog."
    scored, counted = student.encode([Span("", text, "ids"), Span("", text, "ids", count_only=True)])
    if not isinstance(scored, EncodedSpan) or not isinstance(counted, EncodedSpan):
        return False
    return len(scored.ids) - scored.start == len(counted.ids) - counted.start


# --- what it means ----------------------------------------------------------------------------


def check_sample(
    host: Host, data: Data, student: Spec | None, config: ScoringConfig, count: int, seed: int
) -> Iterator[Finding]:
    """Check that data can be read and, if there is a student, that a few samples of it can be scored."""
    try:
        source = yield from check_rows(open_source(host, data))
        if source is None:
            return
        if student is None:
            yield Finding(str(source), f"{number_of(source.count(), 'sample')}; give --student to score a few of them")
            return
        yield Finding("data", str(source))
        yield from findings(asyncio.run(look(host, source, student, config, count, seed)))
    except RtError as error:
        yield Finding(data.path, str(error), good=False)
