"""The command ``rt init``."""

from __future__ import annotations

from pathlib import Path

import click

_STARTER = """\
# Selective Reflection-Tuning. Run it with: rt run {name}
# The same command resumes after a stop; nothing is paid for twice.
# Paths are relative to the directory in which you call rt.

data:
  path: data.json            # JSON, JSON lines, CSV, Parquet or a Hugging Face data set directory
  # columns: {{instruction: question, output: answer}}   # our field: your column

# The model that rewrites. API keys come only from the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, …).
teacher: litellm:openai/gpt-4o-mini
# teacher: hf:Qwen/Qwen3-8B                 # a local model, no key
# teacher: replay:answers.jsonl             # recorded answers

# The model that decides: the one that you will tune. A hub id, a local directory or a GGUF file.
student: hf:Qwen/Qwen2.5-1.5B

scoring:
  preset: chat               # the student's own chat template; or one of the frozen published ones, which
                             # need none: selective-rt, superfiltering, cherry
  # template: chat           # or alpaca, vicuna, wizardlm, none; the preset's own when left out
  # max_tokens: 2048

pipeline:
  - reflect: instruction     # the teacher criticises and rewrites instruction and answer
  - choose: {{highest: ifd}}   # the version with more to learn for the student is kept
  - reflect: response        # the teacher criticises and rewrites the answer
  - choose: {{lowest: r-ifd}}  # the response that fits its instruction better is kept
  - measure: [ifd, r-ifd]    # for the report: original and kept version
  - gate: {{ifd: {{below: 1}}, r-ifd: {{below: 1}}}}
  # - unimproved: drop       # the paper's policy: only samples whose response was improved

limits:
  concurrency: 32            # most teacher calls under way
  # budget_usd: 5.00         # dollars; no call that could exceed it is sent
  # samples: 100             # only the first samples, for a try
"""


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="rt.yaml")
def command(path: Path) -> None:
    """Write a commented config to PATH (rt.yaml)."""
    from rt_framework.data import Destination, claim, whole
    from rt_framework.text import shown

    destination = Destination(path, "PATH")
    claim([destination])
    with whole(destination) as part:
        part.write_text(_STARTER.format(name=path), "utf-8")
    click.echo(shown(f"wrote {path}; set data, teacher and student in it, then: rt run {path}"))
