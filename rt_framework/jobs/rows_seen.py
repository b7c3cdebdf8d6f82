"""Facts about the first rows of a data set, from one reading in bounded memory: for ``rt doctor`` and ``rt init``."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from attrs import frozen

from rt_framework.data import Faults, HashSet64, Tally, Unread, has_marks
from rt_framework.kit.passages import Passage, repeated_passages
from rt_framework.model import Pair, Record, Sample
from rt_framework.text import number_of, visible

MOST = 100_000
"""Rows that are looked at, which takes seconds."""

_COMPARED = 20_000
"""Rows whose answers are compared for repeated passages."""

_HELD = 500
"""Rows whose texts are held, for a tokenizer."""

_OFTEN = 0.03
"""Share of the answers above which a passage that they share is worth a line."""

_SHOWN = 70


@frozen
class RowsSeen:
    """Facts about the first rows of a data set."""

    count: int
    """Number of samples."""
    counts: Counter[str]
    """Number of samples by what they are or have: ``empty``, ``again``, ``turns``, ``system``, ``tools``, ``marks``."""
    answers: int
    """Number of answers that a student is trained on."""
    faults: Faults
    """Rows that cannot be read."""
    lengths: Sequence[int]
    """Characters of each sample, with everything before its answer; the shortest first."""
    pairs: Sequence[Pair]
    """The first pairs, and last the longest of all."""
    passage: Passage | None
    """The passage that most answers share, if they are more than a few per cent of *compared*."""
    compared: int
    """Number of samples whose answers were compared."""

    @property
    def flaws(self) -> str:
        """Numbers of samples that are empty or equal, in words; empty if there are none."""
        empty, again = self.counts["empty"], self.counts["again"]
        told = f"{empty} without instruction or response, {again} equal to an earlier row"
        return f"of {number_of(self.count, 'row')} {told}" if empty or again else ""

    @property
    def repeated(self) -> str:
        """The passage that many answers share, with its count, in words; empty if there is none."""
        if self.passage is None:
            return ""
        text = self.passage.text
        start = text if len(text) <= _SHOWN else f"{text[:_SHOWN].rstrip('… ')}…"
        share = f"{self.passage.count} of {self.compared} rows ({100 * self.passage.count / self.compared:.0f} %)"
        return f"the answers of {share} hold the same passage, '{start}': a student learns it by heart"


def see_rows(entries: Iterable[tuple[Sample, Record] | Unread]) -> RowsSeen:
    """Return the facts about the first rows, those of :data:`MOST`.

    Raises:
        RtError: the rows cannot be read.
    """
    seeing = _Seeing()
    answers = seeing.answers(islice(entries, MOST))
    passages = repeated_passages(islice(answers, _COMPARED), most=1)
    deque(answers, maxlen=0)
    compared = min(len(seeing.lengths), _COMPARED)
    often = [one for one in passages if one.count > max(2, _OFTEN * compared)]
    return RowsSeen(
        count=len(seeing.lengths),
        counts=seeing.counts,
        answers=seeing.trained,
        faults=seeing.tally.faults(),
        lengths=sorted(seeing.lengths),
        pairs=[*seeing.pairs, *(pair for pair in seeing.longest if pair not in seeing.pairs)],
        passage=next(iter(often), None),
        compared=compared,
    )


class _Seeing:
    """The counts of a reading, while it goes on."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.trained = 0
        self.tally = Tally()
        self.lengths = array("Q")
        self.pairs: list[Pair] = []
        self.longest: list[Pair] = []
        self._most = 0
        self._seen = HashSet64()

    def answers(self, entries: Iterable[tuple[Sample, Record] | Unread]) -> Iterator[str]:
        """Yield the answers of each sample as one text, and count on the way."""
        for entry in entries:
            self.tally.rows += 1
            if isinstance(entry, Unread):
                self.tally.add(entry)
                continue
            _, record = entry
            self._count(record)
            turns = [turn for turn in (*record.pair.earlier, record.pair.last) if turn.role == "assistant"]
            self.trained += sum(turn.trained for turn in turns)
            yield "\n\n".join(turn.content for turn in turns)

    def _count(self, record: Record) -> None:
        pair = record.pair
        has = {
            "empty": not (visible(pair.instruction) and (visible(pair.response) or pair.tool_calls)),
            "again": not self._seen.add(int(pair.hash[:16], 16)),
            "turns": pair.history,
            "system": pair.system,
            "tools": pair.tools or pair.tool_calls or pair.since,
            "marks": has_marks(record),
        }
        self.counts.update(name for name, value in has.items() if value)
        if not self.longest or pair.characters > self._most:
            self.longest, self._most = [pair], pair.characters
        self.lengths.append(pair.characters)
        if len(self.pairs) < _HELD:
            self.pairs.append(pair)
