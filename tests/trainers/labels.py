"""Comparison of what a trainer trains with what a score counts, character by character.

A trainer's text of a row has runs of characters whose labels are not -100. Each run has to hold exactly one target: the
characters whose loss is a score. What else is in the run is returned, since a score is over the content alone: the
reasoning before an answer, and the tokens that end a turn.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.builtin.templates.chat import Chat
from rt_framework.config import Data
from rt_framework.data import open_source
from rt_framework.errors import Unscorable
from rt_framework.export import PACKS, export_data_pack
from rt_framework.kit.encoding import Encoder
from rt_framework.kit.turns import turns
from rt_framework.model import Pair
from rt_framework.plugin import Host
from rt_framework.scoring.presets import preset
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.spans import EncodedSpan
from tests.trainers.conversations import rows

_FRAME = PresetSpans(preset("chat"), Chat(), None)


@frozen
class Target:
    """The characters of one trained turn that a score counts."""

    turn: Pair
    before: str
    """All text before them."""
    text: str


@frozen
class Exported:
    """A pack of the conversations, with the samples behind its rows."""

    folder: Path
    told: str
    """Line that ``rt export`` prints."""
    rows: list[dict[str, Any]]
    pairs: list[Pair]
    """The sample of each row."""
    places: list[int]
    """Place of each row among the rows of its sample."""


def export(folder: Path, pack: str, trained: str) -> Exported:
    """Write a pack of the conversations, as ``rt export DATA --pack PACK --trained RULE`` does."""
    folder.mkdir(parents=True, exist_ok=True)
    data, out = folder / "data.jsonl", folder / pack
    data.write_text("".join(json.dumps(row) + "\n" for row in rows()), "utf-8")
    host = Host(only=[])
    source = open_source(host, Data(str(data), trained=trained))
    told = export_data_pack(host, source, out, pack)
    written = [json.loads(line) for line in (out / "train.jsonl").read_text("utf-8").splitlines()]
    pairs = [record.pair for _, record in source]
    form = PACKS[pack].form(lambda: pairs)
    known = defaultdict[str, list[tuple[Pair, int]]](list)  # samples that begin alike have rows in common
    for pair in pairs:
        for place, row in enumerate(_rows(form, pair)):
            known[_key(row)].append((pair, place))
    found = [known[_key(row)].pop(0) for row in written]
    assert not any(known.values()), "a row is missing"
    return Exported(out, told, written, [pair for pair, _ in found], [place for _, place in found])


def _rows(form: Any, pair: Pair) -> Sequence[Any]:
    from rt_framework.export.pack_rows import Unfit

    try:
        return form.rows(pair)
    except Unfit:
        return []


def _key(row: Any) -> str:
    return json.dumps({key: value for key, value in row.items() if value is not None}, sort_keys=True)


def targets(pair: Pair, tokenizer: Any, alone: bool) -> list[Target] | str:
    """Return the targets of a sample, or the reason why it has no score.

    Args:
        pair: the sample.
        tokenizer: the tokenizer with the chat template.
        alone: True if each turn is trained as the last turn of a row, so that nothing follows it.
    """
    try:
        spans = _FRAME.response_given_instruction(pair)
    except Unscorable as error:
        return error.status
    spans = [evolve(span, within=None) if alone else span for span in spans]
    encoded = Encoder.of(tokenizer, 4096).encode(spans)
    found = list[Target]()
    for turn, one in zip(turns(pair), encoded, strict=True):
        if not isinstance(one, EncodedSpan):
            return one.status
        ((start, end),) = one.ranges
        before, until = (tokenizer.decode(one.ids[:place]) for place in (start, end))
        found.append(Target(turn, before, until[len(before) :]))
    return found


def runs(ids: Sequence[int], labels: Sequence[int], tokenizer: Any) -> Iterator[tuple[int, int]]:
    """Yield the ranges of characters of the decoded text that are trained."""
    trained = [place for place, label in enumerate(labels) if label != -100]
    assert all(labels[place] == ids[place] for place in trained)
    for place in trained:
        if place == 0 or labels[place - 1] == -100:
            start = place
        if place + 1 == len(labels) or labels[place + 1] == -100:
            yield tuple(len(tokenizer.decode(ids[:at])) for at in (start, place + 1))


def compare(ids: Sequence[int], labels: Sequence[int], tokenizer: Any, expected: Sequence[Target]) -> Counter[str]:
    """Check that each run of trained characters holds its target where a score has it; return what else it holds."""
    text, beside = tokenizer.decode(ids), Counter[str]()
    for (start, end), target in zip(runs(ids, labels, tokenizer), expected, strict=True):
        first = len(target.before)
        assert text.startswith(target.before + target.text), (text, target)
        last = first + len(target.text)
        # White space that a template writes between a thought and an answer is no content: not every trainer trains it.
        content = last - len(target.text.lstrip())
        assert start <= content and last <= end, (text[start:end], target.text)
        thoughts = target.turn.last.thoughts.strip()
        lead = text[start:first]
        if thoughts and lead:
            assert lead.replace(thoughts, "", 1) != lead, (lead, thoughts)
            lead = lead.replace(thoughts, "THOUGHTS", 1)
        untrained = f", {text[first:start]!r} not trained" if start > first else ""
        beside[f"{lead!r} before, {text[last:end]!r} behind{untrained}"] += 1
    return beside
