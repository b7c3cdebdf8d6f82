"""Checks for ``rt doctor`` of student, template and data together, by scoring a few samples before all of them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rt_framework.config import MAIN, Builder, Data, ScoringConfig
from rt_framework.data import Source, open_source
from rt_framework.errors import RtError
from rt_framework.jobs.data_checks import check_rows, row_findings
from rt_framework.jobs.fits import fit
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
from rt_framework.spans import EncodedSpan, Span
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
            fits = [fit(side.student, frame, pair) for pair in pairs]
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
        cut=sum(one.cut for one in fits),
        longest=max(one.tokens for one in fits),
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
        yield from row_findings(source)
        if student is None:
            yield Finding(str(source), f"{number_of(source.count(), 'sample')}; give --student to score a few of them")
            return
        yield Finding("data", str(source))
        yield from findings(asyncio.run(look(host, source, student, config, count, seed)))
    except RtError as error:
        yield Finding(data.path, str(error), good=False)
