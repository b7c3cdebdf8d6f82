"""Packs: the samples of a run or of any data set, or a student's preferences, in the form that a trainer reads.

A pack is named data, not code. All packs hold conversations, so that the trainer puts the chat template of its own
model around the texts. A pack has only the trainer's columns: a column of the input with values of several types
would stop the trainer's loader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from attrs import field, frozen

from rt_framework.config import Builder
from rt_framework.data import Destination, Source, claim, column_names, find_shape, paths_in, whole
from rt_framework.errors import ConfigError
from rt_framework.export.preferences import Preference, Preferences
from rt_framework.model import Pair, Record
from rt_framework.plugin import Host, named
from rt_framework.protocols import Format
from rt_framework.results import FinishedRun, open_run

DATA = "train.jsonl"
_SURROGATE = re.compile("[\ud800-\udfff]")
_DATASET = "reflected"
"""Name of the data set for a trainer that needs one."""


@frozen
class Pack:
    """Input of a trainer: the rows of ``train.jsonl``, and any files that tell the trainer how to read them."""

    name: str
    row: Callable[[Pair], dict[str, Any]] | None
    """Function that returns the row of a kept sample; ``None`` in a pack of preferences."""
    preference: Callable[[Preference], dict[str, Any]] | None
    usage: str
    """Instructions with the next command; ``{folder}`` stands for the folder of the pack."""
    files: Mapping[str, str] = field(factory=dict)
    """Text of the files beside the data, by name."""


# --- rows -------------------------------------------------------------------------------------


def _turns(pair: Pair) -> list[dict[str, str]]:
    shape = find_shape("messages")
    turns: list[dict[str, str]] = shape.write(pair, {}, column_names(shape, {}))["messages"]
    return turns


def _messages(pair: Pair) -> dict[str, Any]:
    return {"messages": _turns(pair)}


def _prompt_completion(pair: Pair) -> dict[str, Any]:
    *prompt, answer = _turns(pair)
    return {"prompt": prompt, "completion": [answer]}


def _why(preference: Preference) -> dict[str, Any]:
    scores = {"chosen_score": preference.chosen_score, "rejected_score": preference.rejected_score}
    return {"stage": preference.stage, "metric": preference.metric, **scores}


def _trl_preference(preference: Preference) -> dict[str, Any]:
    *prompt, chosen = _turns(preference.chosen)
    return {"prompt": prompt, "chosen": [chosen], "rejected": _turns(preference.rejected)[-1:], **_why(preference)}


def _preference(preference: Preference) -> dict[str, Any]:
    *prompt, chosen = _turns(preference.chosen)
    return {"messages": prompt, "chosen": chosen, "rejected": _turns(preference.rejected)[-1], **_why(preference)}


# --- what the trainers are told ---------------------------------------------------------------

_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def _dataset_info(ranking: bool) -> Mapping[str, str]:
    columns = {"messages": "messages"} | ({"chosen": "chosen", "rejected": "rejected"} if ranking else {})
    entry = {"file_name": DATA, "formatting": "sharegpt", "ranking": ranking, "columns": columns, "tags": _TAGS}
    return {"dataset_info.json": json.dumps({_DATASET: entry}, indent=2) + "\n"}


_AXOLOTL = f"""\
chat_template: tokenizer_default
datasets:
  - path: {DATA}
    ds_type: json
    type: chat_template
    field_messages: messages
    message_property_mappings:
      role: role
      content: content
    roles_to_train: [assistant]
"""

_AXOLOTL_DPO = f"""\
rl: dpo
chat_template: tokenizer_default
datasets:
  - path: {DATA}
    ds_type: json
    split: train
    type: chat_template.default
    field_messages: messages
    field_chosen: chosen
    field_rejected: rejected
"""

_TRL = "trl {how} --model_name_or_path MODEL --dataset_name {{folder}} --output_dir trained"
_LLAMA_FACTORY = (
    "llamafactory-cli train --stage {how} --do_train true --model_name_or_path MODEL --template TEMPLATE "
    f"--finetuning_type lora --dataset_dir {{{{folder}}}} --dataset {_DATASET} --output_dir trained"
)
_AXOLOTL_USAGE = "put axolotl.yaml into your config.yaml in {folder}, and there: axolotl train config.yaml"

_PACKS = (
    Pack("trl", _prompt_completion, None, _TRL.format(how="sft")),
    Pack("trl-messages", _messages, None, _TRL.format(how="sft")),
    Pack("trl-preference", None, _trl_preference, _TRL.format(how="dpo")),
    Pack("llama-factory", _messages, None, _LLAMA_FACTORY.format(how="sft"), _dataset_info(ranking=False)),
    Pack("llama-factory-preference", None, _preference, _LLAMA_FACTORY.format(how="dpo"), _dataset_info(ranking=True)),
    Pack("axolotl", _messages, None, _AXOLOTL_USAGE, {"axolotl.yaml": _AXOLOTL}),
    Pack("axolotl-preference", None, _preference, _AXOLOTL_USAGE, {"axolotl.yaml": _AXOLOTL_DPO}),
)

PACKS: dict[str, Pack] = {pack.name: pack for pack in _PACKS}


def find_pack(name: str) -> Pack:
    """Return the pack called *name*.

    Raises:
        ConfigError: there is no such pack.
    """
    return named("pack", name, PACKS)


# --- writing ----------------------------------------------------------------------------------


@frozen
class Readable:
    """Rows that every loader can read: a lone surrogate, which UTF-8 cannot hold, becomes ``?``, as in CSV and Parquet.

    JSON that escapes a lone surrogate is valid, but the loaders refuse the whole file because of it.
    """

    rows: Iterable[Mapping[str, Any]]
    counts: dict[str, int] = field(factory=lambda: {"rows": 0, "replaced": 0})
    """Number of rows given so far, and of those that were changed."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self.rows:
            plain = _plain(row)
            self.counts["rows"] += 1
            self.counts["replaced"] += plain != row
            yield plain


def replacements(rows: int) -> str:
    """Return a note for the user on the number of rows that were changed; empty if none was."""
    return f"; lone surrogates became '?' in {rows} of them" if rows else ""


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("?", value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def export_folder(run: FinishedRun, out: Path, overwrite: bool) -> Destination:
    """Claim and return the destination of a folder that is exported from a run.

    Raises:
        ConfigError: something is there that an export did not write, or that was changed since.
    """
    return _claimed(run.source, out, overwrite, paths_in(run.config))


def _claimed(source: Source, out: Path, overwrite: bool, read: Iterable[Path] = ()) -> Destination:
    destination = Destination(out, "--out", "folder", overwrite=overwrite)
    claim([destination], source.inputs, read)
    return destination


def export_pack(host: Host, run_dir: Path, out: Path, name: str, overwrite: bool = False) -> str:
    """Write the pack called *name* of a finished run to the folder *out*; return what was done and what to do next.

    Raises:
        ConfigError: the pack is unknown, or *out* must not be replaced.
        DataError: the run is not finished, its data changed, or it has nothing for this pack.
        DiskError: *out* cannot be written.
    """
    pack = find_pack(name)
    with open_run(run_dir, host) as run:
        destination = export_folder(run, out, overwrite)
        if pack.preference is None:
            return _written(host, pack, destination, _samples(pack, run.records(kept=True)))
        pairs = Preferences(run)
        return _written(host, pack, destination, Readable(map(pack.preference, pairs)), pairs)


def export_data_pack(host: Host, source: Source, out: Path, name: str, overwrite: bool = False) -> str:
    """Write the pack called *name* of any data set to the folder *out*; return what was done and what to do next.

    Raises:
        ConfigError: the pack is unknown or one of preferences, which only a run has; or *out* must not be replaced.
        DataError: the data cannot be read, or changed while it was read.
        DiskError: *out* cannot be written.
    """
    pack = find_pack(name)
    if pack.preference is not None:
        raise ConfigError(f"pack '{name}' holds the preferences of a run, and {source.name} is a data file")
    destination = _claimed(source, out, overwrite)
    source, _ = source.read_through(lambda _: None)

    def records() -> Iterator[Record]:
        yield from (record for _, record in source)
        source.check_unchanged()

    return _written(host, pack, destination, _samples(pack, records()), note=source.left_out)


def _samples(pack: Pack, records: Iterable[Record]) -> Readable:
    assert pack.row is not None
    return Readable(map(pack.row, (record.pair for record in records)))


def _written(
    host: Host,
    pack: Pack,
    destination: Destination,
    rows: Readable,
    pairs: Preferences | None = None,
    note: str = "",
) -> str:
    """Write the folder of a pack, and return what was done, with a note on the data, and what to do next."""
    out = destination.path
    form: Format = Builder(host)("formats", "jsonl")
    with whole(destination) as part:
        part.mkdir()
        form.write(part / DATA, rows)
        next_ = pack.usage.format(folder=quote(str(out)))
        for file, text in {**pack.files, "README.md": _readme(pack, next_)}.items():
            (part / file).write_text(text, "utf-8", "replace")
    unit = "samples" if pairs is None else "preference pairs"
    notes = replacements(rows.counts["replaced"]) + _left_out(pairs) + (f"; {note}" if note else "")
    then = f"next: {next_}" if rows.counts["rows"] else "the pack has no samples to train on"
    return f"wrote {out}: {rows.counts['rows']} {unit}{notes}\n{then}"


def _left_out(pairs: Preferences | None) -> str:
    reasons = [] if pairs is None else [f"{count} {why}" for why, count in sorted(pairs.left_out.items())]
    return f"; comparisons left out: {', '.join(reasons)}" if reasons else ""


def _readme(pack: Pack, usage: str) -> str:
    return f"# Pack {pack.name}, written by rt-framework\n\nNext:\n\n    {usage}\n"
