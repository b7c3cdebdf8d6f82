"""IFD by other tools that are installed beside rt, on the same rows and model: `python -m benchmarks.peers`.

Data-Juicer and lm-eval come from PyPI, in an environment of their own; OpenDataArena's DataScorer is a checkout,
given by --oda. What a tool computes differs in places from the published IFD: docs/benchmarks.md says where.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click

from benchmarks.jobs import HELD, Published, Row, ifd_spans, pair_of
from benchmarks.measure import Works, alternate, machine, run_batches, show_ratios
from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.scoring import plan
from rt_framework.spans import EncodedSpan


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="JSON file of Alpaca rows.")
@click.option("--model", required=True, help="Directory with safetensors in float32; what all of them can load.")
@click.option("--rows", default=48, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--batch", "sizes", multiple=True, type=int, default=(1, 8), show_default=True, help="Of the peers.")
@click.option("--oda", type=click.Path(exists=True, path_type=Path), help="model_based/ of ODA-DataScorer.")
def main(data: Path, model: str, rows: int, rounds: int, sizes: tuple[int, ...], oda: Path | None) -> None:
    """Measure and print."""
    taken = json.loads(data.read_text("utf-8"))[:rows]
    contenders = ours(model, taken) | data_juicer(model, taken)
    for size in sizes:
        contenders |= lm_eval(model, taken, size)
        if oda is not None:
            contenders |= datascorer(model, taken, size, oda)
    found = alternate({name: silence()(work) for name, work in contenders.items()}, rounds)
    peers = {name: metadata.version(name) for name in ("py-data-juicer", "lm-eval")}
    show_ratios(found, machine("cpu") | peers | {"rows": rows})


def ours(name: str, rows: list[Row]) -> Works:
    """The published procedure, and rt's student without a ledger."""
    settings = HFSettings(name, dtype="float32", device="cpu")
    HELD["student"] = student = HFStudent(settings)
    spans = ifd_spans([pair_of(row) for row in rows])
    assert student.packs

    def score() -> None:
        encoded = [one for one in student.encode(spans) if isinstance(one, EncodedSpan)]
        run_batches(student.score, plan(encoded, lambda: student.batch_tokens, student.packs))

    published = Published(models.load_model(settings, None), models.load_tokenizer(settings), spans)
    return {"published procedure": published, "rt-framework": score}


def data_juicer(name: str, rows: list[Row]) -> Works:
    """Its IFD filter, which takes one row at a time."""
    from data_juicer.ops.filter.instruction_following_difficulty_filter import InstructionFollowingDifficultyFilter
    from data_juicer.utils.constant import Fields

    op = InstructionFollowingDifficultyFilter(hf_model=name, query_template="{prompt}", response_template="{response}")
    texts = [(str(one.context), one.target) for one in ifd_spans([pair_of(row) for row in rows])[::2]]
    samples = [{"prompt": prompt, "response": response} for prompt, response in texts]
    return {"Data-Juicer": lambda: [op.compute_stats(sample | {Fields.stats: {}}) for sample in samples]}


def lm_eval(name: str, rows: list[Row], size: int) -> Works:
    """Its log-likelihoods of a continuation, given a context or none."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    spans = ifd_spans([pair_of(row) for row in rows])
    lm = HFLM(pretrained=name, device="cpu", dtype="float32", max_length=2048, batch_size=size)

    def score() -> None:
        asked = [
            Instance(request_type="loglikelihood", doc={}, arguments=(str(one.context), one.target), idx=at)
            for at, one in enumerate(spans)
        ]
        sums = lm.loglikelihood(asked, disable_tqdm=True)
        assert all(math.isfinite(total) for total, _ in sums)

    return {f"lm-eval, batch {size}": score}


def datascorer(name: str, rows: list[Row], size: int, folder: Path) -> Works:
    """Its IFD scorer, in the order of the file."""
    sys.path.insert(0, str(folder))
    from scorers.IFDScorer import IFDScorer

    prompt = str(ifd_spans([pair_of({"instruction": "{instruction}", "input": "", "output": "x"})])[0].context)
    templates = {"template": prompt.replace("{instruction}", "{instruction}\n\n{input}"), "template_no_input": prompt}
    scorer = IFDScorer({"name": "IFDScorer", "model": name, "max_length": 2048, "batch_size": size, **templates})

    def score() -> None:
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        found = [
            value
            for part in parts
            for value in ([scorer.score_item(part[0])] if size == 1 else scorer.score_batch(part))
        ]
        # It swallows every exception and gives −1 for the whole batch.
        assert -1 not in found

    return {f"OpenDataArena, batch {size}": score}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Peers print as they go."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    main()
