"""The plain baseline gives the published losses, and the student gives the baseline's, on rows that anyone has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from benchmarks.published import mean_loss
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.config.builder import Builder
from rt_framework.model import Pair
from rt_framework.plugin.host import Host
from rt_framework.scoring.presets import preset
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.spans import EncodedSpan, Span

pytestmark = pytest.mark.model

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"
WAYS = [
    ("selective-rt", "alpaca"),
    ("selective-rt", "vicuna"),
    ("selective-rt", "wizardlm"),
    ("superfiltering", "none"),
    ("cherry", "alpaca"),
]


@pytest.fixture(scope="module")
def student(smollm2_saved):
    return HFStudent(HFSettings(smollm2_saved, device="cpu"))


@pytest.fixture(scope="module")
def plain(student, smollm2_saved):
    """The loss of a span by the plain procedure, one at a time."""
    tokens = AutoTokenizer.from_pretrained(smollm2_saved)

    def loss(span: Span) -> float:
        return mean_loss(
            student._way.losses._model, tokens, span.context, span.target, span.max_tokens, span.paired_context
        )

    return loss


def oracle_spans(file: dict[str, Any], row: dict[str, str]) -> dict[str, Span]:
    """The spans of one row, by hand from the prompts in an oracle file."""

    def prompt(instruction: str, more: str = "") -> str:
        text = file["prompt_input" if more else "prompt_no_input"]
        return text.replace("{instruction}", instruction).replace("{input}", more)

    def both(names: tuple[str, str], context: str, target: str) -> dict[str, Span]:
        header, limit = file.get("response_header"), file["max_length"]
        alone = Span(header, target) if header else Span("", target, paired_context=context)
        return {
            name: Span(span.context, span.target, paired_context=span.paired_context, max_tokens=limit)
            for name, span in zip(names, (alone, Span(context, target)), strict=True)
        }

    spans = both(("y", "y|x"), prompt(row["instruction"], row["input"]), row["output"])
    if "reverse_instruction" in file:
        guess = file["reverse_instruction"].replace("{response}", row["output"])
        spans |= both(("x", "x|y"), prompt(guess), row["instruction"] + row["input"])
    return spans


def size(row: dict[str, str]) -> int:
    """Characters of a row, which is what a forward pass of it costs."""
    return sum(map(len, row.values()))


@pytest.mark.parametrize("name", ["alpaca", "cherry", "none", "vicuna", "wizardlm"])
def test_the_baseline_gives_the_published_losses(name, plain):
    """The shortest row with input and without: what the other tests compare with is itself the published procedure."""
    if not (SHARED / "oracle").is_dir():
        pytest.skip("needs losses and rows that are not part of the repository")
    oracle = json.loads((SHARED / "oracle" / f"{name}.json").read_text("utf-8"))
    data = json.loads((SHARED / "data" / oracle["data"]).read_text("utf-8"))
    scored = [row for row in oracle["rows"] if None not in row["losses"].values()]
    shortest = sorted(scored, key=lambda row: size(data[row["row"]]))
    for row in (next(row for row in shortest if bool(data[row["row"]]["input"]) is more) for more in (True, False)):
        found = {name: plain(span) for name, span in oracle_spans(oracle, data[row["row"]]).items()}
        assert found == pytest.approx(row["losses"], rel=2e-4)


@pytest.mark.parametrize(("preset_name", "template"), WAYS)
def test_every_preset_gives_the_baselines_losses_on_the_demos_rows(preset_name, template, student, plain):
    """Framing, encoding, batching and the forward pass together, in one batch against one at a time."""
    chosen = preset(preset_name)
    frame = PresetSpans(chosen, Builder(Host(only=[]))("templates", template), chosen.limit(template))
    rows = json.loads((REPO / "demo" / "samples.json").read_text("utf-8"))
    row = min((row for row in rows if len(row["output"]) > 20), key=size)
    pair = Pair(row["instruction"], row["input"], row["output"])
    asked = [frame.response_given_instruction, frame.response_alone]
    if preset_name == "selective-rt":
        asked += [frame.instruction_given_response, frame.instruction_alone]
    spans = [span for method in asked for span in method(pair)]
    encoded = student.encode(spans)
    assert all(isinstance(span, EncodedSpan) for span in encoded)
    ours = [loss.nll / loss.tokens for loss in student.score(encoded)]
    assert ours == pytest.approx([plain(span) for span in spans], rel=2e-4)
