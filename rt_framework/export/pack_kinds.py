"""The packs by name: rows for a trainer, the files beside them, and the next command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from rt_framework.export import llama_factory
from rt_framework.export.pack_rows import (
    Row,
    all_trained,
    axolotl_preference,
    marked_messages,
    prompt_completions,
    trains_all,
    trl_preference,
)
from rt_framework.export.preferences import Preference
from rt_framework.model import Pair
from rt_framework.plugin import named

DATA = "train.jsonl"
_DATASET = "reflected"
"""Name of the data set for a trainer that needs one."""


@frozen
class Pack:
    """Input of a trainer: the rows of ``train.jsonl``, and any files that tell the trainer how to read them."""

    name: str
    rows: Callable[[Pair], list[Row]] | None
    """Function that returns the rows of a kept sample; ``None`` in a pack of preferences."""
    preference: Callable[[Preference], list[Row]] | None
    usage: str
    """Instructions with the next command; ``{folder}`` stands for the folder of the pack."""
    note: str
    """Sentence on what a row is and what of it is trained."""
    files: Callable[[bool], Mapping[str, str]] = lambda _: {}
    """Function that returns the text of the files beside the data, by name; for data with tools or without."""
    masked: Pack | None = None
    """Form of the pack for samples with an assistant turn that is not trained, if that needs another one."""

    def form(self, pairs: Callable[[], Iterable[Pair]]) -> Pack:
        """Return the form of the pack that trains exactly the trained turns of some samples."""
        return self if self.masked is None or all(map(trains_all, pairs())) else self.masked


_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


def _dataset_info(ranking: bool) -> Callable[[bool], Mapping[str, str]]:
    def files(tools: bool) -> Mapping[str, str]:
        names = ["messages", *(["chosen", "rejected"] if ranking else []), *(["tools"] if tools else [])]
        columns = {name: name for name in names}
        entry = {"file_name": DATA, "formatting": "sharegpt", "ranking": ranking, "columns": columns, "tags": _TAGS}
        return {"dataset_info.json": json.dumps({_DATASET: entry}, indent=2) + "\n"}

    return files


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
      reasoning_content: reasoning_content
      thinking: thinking
      tool_calls: tool_calls
      tool_call_id: tool_call_id
      name: name
    message_field_training: train
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

_TRL = "trl {how} --model_name_or_path MODEL --dataset_name {{folder}}{more} --output_dir trained"
_LLAMA_FACTORY = (
    "llamafactory-cli train --stage {how} --do_train true --model_name_or_path MODEL --template TEMPLATE "
    f"--finetuning_type lora --dataset_dir {{{{folder}}}} --dataset {_DATASET}{{more}} --output_dir trained"
)
_AXOLOTL_USAGE = "put axolotl.yaml into your config.yaml in {folder}, and there: axolotl train config.yaml"

_LAST_TURN = "Each row ends with a trained assistant turn, and that turn alone is trained"
_EVERY_TURN = "Each row is a conversation, and every assistant turn of it is trained"
_PREFERENCE = "Each row is a preference between two answers to one prompt."
_MESSAGES_NOTE = f"""\
{_EVERY_TURN}. TRL finds these turns only with a
chat template that encloses them in `{{% generation %}}` and `{{% endgeneration %}}`. It has such a template for some
models and refuses the others: then give one with `--chat_template_path FILE`, or take the pack `trl`, which trains the
same turns with every template. Without `--assistant_only_loss true` TRL would train the prompts too."""

_PACKS = (
    Pack("trl", prompt_completions, None, _TRL.format(how="sft", more=""), f"{_LAST_TURN}."),
    Pack("trl-messages", all_trained, None, _TRL.format(how="sft", more=" --assistant_only_loss true"), _MESSAGES_NOTE),
    Pack("trl-preference", None, trl_preference, _TRL.format(how="dpo", more=""), _PREFERENCE),
    Pack(
        "llama-factory",
        llama_factory.conversations,
        None,
        _LLAMA_FACTORY.format(how="sft", more=""),
        f"{_EVERY_TURN}.",
        _dataset_info(ranking=False),
        Pack(
            "llama-factory",
            llama_factory.last_turns,
            None,
            _LLAMA_FACTORY.format(how="sft", more=" --mask_history true"),
            f"{_LAST_TURN}. Without `--mask_history true` LLaMA-Factory would train the\nearlier answers too.",
            _dataset_info(ranking=False),
        ),
    ),
    Pack(
        "llama-factory-preference",
        None,
        llama_factory.preferences,
        _LLAMA_FACTORY.format(how="dpo", more=""),
        _PREFERENCE,
        _dataset_info(ranking=True),
    ),
    Pack(
        "axolotl",
        marked_messages,
        None,
        _AXOLOTL_USAGE,
        "Each row is a conversation, and the messages with `train: true` are trained.",
        lambda _: {"axolotl.yaml": _AXOLOTL},
    ),
    Pack(
        "axolotl-preference",
        None,
        axolotl_preference,
        _AXOLOTL_USAGE,
        _PREFERENCE,
        lambda _: {"axolotl.yaml": _AXOLOTL_DPO},
    ),
)

PACKS: dict[str, Pack] = {pack.name: pack for pack in _PACKS}


def find_pack(name: str) -> Pack:
    """Return the pack called *name*.

    Raises:
        ConfigError: there is no such pack.
    """
    return named("pack", name, PACKS)
