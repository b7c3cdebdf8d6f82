"""Tokens that the trained turns of conversations cost: `python -m benchmarks.conversations --data D --model M`.

The conditional passes of all turns of a conversation are put into packed rows, in which shared beginnings are fed once.
The ratio is that of the tokens fed to the tokens of the conversation itself. No weights are loaded.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from attrs import evolve

from benchmarks.jobs import pair_of
from rt_framework import EncodedSpan, Pair, Span, Turn, turns
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.templates.chat import Chat
from rt_framework.data.conversations import trained_by
from rt_framework.data.shapes import column_names, find_shape, to_record
from rt_framework.scoring import plan, preset
from rt_framework.scoring.spans_of import PresetSpans

_ROUNDS = 6
"""Number of rows that make up one conversation."""


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="JSON file of Alpaca rows.")
@click.option("--model", required=True, help="Whose tokenizer and chat template.")
def main(data: Path, model: str) -> None:
    """Encode and count."""
    rows = [pair_of(row) for row in json.loads(data.read_text("utf-8"))]
    student = HFStudent(HFSettings(model, device="cpu"))
    for name, pairs in {"rows, six a conversation": _joined(rows), "the demo's conversations": _demo()}.items():
        for way in ("all", "unroll"):
            fed, whole = (sum(counts) for counts in zip(*(_tokens(student, pair, way) for pair in pairs), strict=True))
            click.echo(f"{name}, {way}: {fed:,} tokens fed, {whole:,} in the conversations: {fed / whole:.3f}")


def _joined(rows: list[Pair]) -> list[Pair]:
    made = []
    for start in range(0, len(rows) - _ROUNDS + 1, _ROUNDS):
        *before, last = rows[start : start + _ROUNDS]
        history = [turn for pair in before for turn in (Turn("user", pair.user_turn), pair.last)]
        made.append(evolve(last, history=tuple(evolve(turn, trained=False) for turn in history)))
    return made


def _demo() -> list[Pair]:
    shape = find_shape("messages")
    lines = (Path(__file__).parent.parent / "demo/conversations.jsonl").read_text("utf-8").splitlines()
    return [to_record(shape, json.loads(line), column_names(shape, {})).pair for line in lines]


def _tokens(student: HFStudent, pair: Pair, way: str) -> tuple[int, int]:
    """Return the tokens fed for the turns of a conversation, together or each as a sample, and its own tokens."""
    frame, trained = PresetSpans(preset("chat"), Chat(), None), trained_by(pair, "all")
    samples = [trained] if way == "all" else [_alone(turn) for turn in turns(trained)]
    spans = [span for sample in samples for span in frame.response_given_instruction(sample)]
    encoded = [one for one in student.encode(spans) if isinstance(one, EncodedSpan)]
    (whole,) = student.encode([Span((*pair.before, pair.last), "x", "ids")])
    assert isinstance(whole, EncodedSpan)
    return sum(batch.tokens for batch in plan(encoded, lambda: 10**9, packed=True)), whole.start


def _alone(pair: Pair) -> Pair:
    """Return a turn as a sample of its own, in which nothing before it is trained."""
    return evolve(pair, history=tuple(evolve(turn, trained=False) for turn in pair.history))


if __name__ == "__main__":
    main()
