"""Token lengths of real rows, for the GPU benchmark: `python -m benchmarks.lengths --data D --model M --out F`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchmarks.jobs import ifd_spans, pair_of
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.spans import EncodedSpan


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="JSON file of Alpaca rows.")
@click.option("--model", required=True, help="Whose tokenizer.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="[instruction, response] tokens, a row each."
)
def main(data: Path, model: str, out: Path) -> None:
    """Encode and count; loads no weights."""
    rows = json.loads(data.read_text("utf-8"))
    spans = ifd_spans([pair_of(row) for row in rows])[::2]
    encoded = HFStudent(HFSettings(model, device="cpu")).encode(spans)
    found = [[one.start, len(one.ids) - one.start] for one in encoded if isinstance(one, EncodedSpan)]
    out.write_text(json.dumps(found), "utf-8")
    click.echo(f"{out}: {len(found)} of {len(rows)} rows")


if __name__ == "__main__":
    main()
