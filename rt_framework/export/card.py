"""The data card of a folder for the Hugging Face hub: the run, its outcome, and the limits of its numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml
from attrs import frozen

from rt_framework.config import MAIN_TEACHER
from rt_framework.kit.places import in_words
from rt_framework.kit.proofs import Proof, verdict
from rt_framework.results import Cost, FinishedRun
from rt_framework.rundir import fallbacks_in_words, origins_in_words, review_lines, teachers_in
from rt_framework.text import number_of, shown, without_secrets

_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
_LARGEST = "n>10M"

_LIMITS = """\
- Scores are those of the one student named above. Another model may prefer other versions.
"""
_UNREAD = """\
- A better score is no proof of a better answer: nobody has checked the texts for truth, safety or personal data.
"""
_READ = """\
- A better score is no proof of a better answer: only the reviewed rewrites were read by a person, and nobody has
  checked the other texts for truth, safety or personal data.
"""
_UNPROVED = """\
- Whether training on this data helps is not measured by these numbers. Train on the controls too, and compare.
"""
_PROVED = """\
- The trainings above are of one model on samples of this data. Losses favour their own style, and the intervals are not
  corrected for the number of comparisons.
"""
_TERMS = """\
The responses and instructions that were rewritten are text of the teacher. The terms of its provider may bind anyone
who uses or trains on them, whatever the licence of this data set says.
"""


@frozen
class Part:
    """One file of the data set."""

    name: str
    path: str
    about: str
    samples: int


def card(run: FinishedRun, license_id: str, parts: Sequence[Part], proof: Proof | None = None) -> str:
    """Return the text of ``README.md``: the hub's own fields as YAML, then the card.

    Args:
        run: the run.
        license_id: the licence as the hub writes it.
        parts: the files; a loader takes the first by default.
        proof: the proof of the run, if there is one.
    """
    front = yaml.safe_dump(_front(license_id, parts), sort_keys=False)
    return f"---\n{front}---\n\n" + "\n".join(_text(run, parts, proof))


def _front(license_id: str, parts: Sequence[Part]) -> dict[str, Any]:
    first, *_ = parts
    size = next((name for most, name in _SIZES if first.samples < most), _LARGEST)
    configs = [
        {"config_name": part.name, "data_files": [{"split": "train", "path": part.path}]}
        | ({"default": True} if part is first else {})
        for part in parts
    ]
    return {
        "license": license_id,
        "task_categories": ["text-generation"],
        "size_categories": [size],
        "tags": ["instruction-tuning", "reflection-tuning", "rt-framework"],
        "configs": configs,
    }


def _text(run: FinishedRun, parts: Sequence[Part], proof: Proof | None) -> Iterator[str]:
    summary = run.manifest["summary"]
    yield "# Instruction data, improved by Selective Reflection-Tuning\n"
    yield "A teacher rewrote samples; a student's own losses decided which version of each was kept."
    yield "\n## Data\n"
    yield f"Columns have the shape {run.source.shape}.\n"
    yield from _table(("part", "file", "samples", "what"), [(p.name, p.path, p.samples, p.about) for p in parts])
    yield "\n`scores.jsonl` has every score, decision and reason of every sample, by row of the input.\n"
    if len(parts) == 1:
        yield "There are no controls of the selection: all samples were kept, or none. Compare with the input.\n"
    yield "## How it was made\n"
    yield from _table(("what", "value"), _provenance(run))
    yield "\n## Outcomes\n"
    yield from _table(("outcome", "samples"), list(summary["outcomes"].items()))
    yield "\nReasons of those dropped:\n" if summary["drops"] else ""
    yield from _table(("reason", "samples"), list(summary["drops"].items()))
    reviews = review_lines(run.review_counts)
    yield from (f"\n{_cell(told)}." for told in reviews)
    yield from _handovers(summary.get("handovers", ()))
    yield "\n## Scores of the kept samples, before and after\n"
    yield from _table(
        ("metric", "before (mean)", "after (mean)", "samples"),
        [(s["metric"], f"{s['before']:.4g}", f"{s['after']:.4g}", s["samples"]) for s in summary["shifts"]],
    )
    yield from () if proof is None else _trained(proof)
    yield f"\n## Limits\n\n{_LIMITS}{_READ if reviews else _UNREAD}{_UNPROVED if proof is None else _PROVED}"
    yield f"## Terms of the teacher\n\n{_TERMS}"


def _handovers(handovers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how many questions went to another teacher than the first one, and why."""
    if handovers:
        yield "\nQuestions that a teacher could not answer, and that went to its fallback:\n"
        rows = [[one[name] for name in ("teacher", "fallback", "kind", "questions")] for one in handovers]
        yield from _table(("teacher", "fallback", "kind of failure", "questions"), rows)


def _trained(proof: Proof) -> Iterator[str]:
    """Yield what small trainings on the kept samples and on controls have shown."""
    yield "\n## Trained and compared\n"
    yield (
        f"One model ({_cell(proof.model)}) was trained on each arm with {number_of(len(proof.seeds), 'seed')} by "
        "`rt prove`. Differences are arm minus control, paired by prompt, at the best learning rate of each; the "
        "intervals of 95 % count prompts and seeds as random.\n"
    )
    yield from _table(
        ("arm", "samples", "rewrites", "tokens", "holds"),
        [(arm.name, arm.samples, arm.rewritten, arm.tokens, arm.holds) for arm in proof.arms],
    )
    yield ""
    yield from _table(
        ("arm", "against", "measured on", "difference", "95 % interval", "what it says"),
        [
            (
                *(one.arm, one.control, one.outcome, f"{one.value:+.4f}"),
                "–" if one.low is None else f"{one.low:+.4f} to {one.high:+.4f}",
                verdict(proof, one),
            )
            for one in proof.comparisons
            if one.best
        ],
    )
    judged = [(one, one.answers) for one in proof.comparisons if one.best and one.answers is not None]
    if judged:
        yield "\nA teacher judged the answers of two models to one prompt, in both orders. Judges may like length.\n"
        yield from _table(
            ("arm", "against", "judged on", "difference", "won", "tied", "lost", "longer answer won", "left out"),
            [
                (one.arm, one.control, one.outcome, f"{one.value:+.4f}", *answers.shares, answers.left_out)
                for one, answers in judged
            ],
        )


def _provenance(run: FinishedRun) -> list[tuple[str, object]]:
    manifest = run.manifest
    config, frozen_ = manifest["config"], manifest["frozen"] or {}
    teachers = {name: one["part"] for name, one in teachers_in(config).items()}
    rows = [
        ("input", PurePath(config["data"]["path"]).name),
        ("input SHA-256", (frozen_.get("data") or {}).get("content")),
        ("teacher", _asked(teachers.pop(MAIN_TEACHER, None))),
        ("further teachers", _asked(teachers or None)),
        ("fallbacks", fallbacks_in_words(config)),
        ("teacher asked at", in_words(manifest.get("places") or ())),
        ("cost of the teacher", _cost(run.cost)),
        ("student", _asked(config["student"])),
        ("student fingerprint", frozen_.get("student")),
        ("scoring", _asked(config["scoring"])),
        ("pipeline", _asked(config["pipeline"])),
        ("plugins", origins_in_words(manifest)),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items() if version)),
    ]
    return [(name, value) for name, value in rows if value]


def _cost(cost: Cost) -> str | None:
    """Return what the teacher has cost in words; ``None`` where it was not asked or costs nothing."""
    if not any(bill.requests for bill in cost.bills) or (cost.priced and not cost.nano_dollars):
        return None
    known = "" if cost.priced else ", and calls without a known price"
    less = f", ${cost.saved / 1e9:.4f} less than without caches and batches" if cost.saved > 0 else ""
    return f"${cost.dollars:.4f}{less}{known}"


def _asked(value: object) -> str | None:
    """Return plain values on one line, without the folders of paths on the machine of the run."""
    return None if value is None else json.dumps(_short(value), ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    if rows:
        yield from (_line(header), _line(["---"] * len(header)), *(_line(map(_cell, row)) for row in rows))


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    """Return a value as the text of one cell, on one line, with markup escaped and secrets removed."""
    text = " ".join(without_secrets(shown(value)).split())
    return "".join(f"&#{ord(char)};" if char in "|<>&`*_[]\\~$" else char for char in text)
