"""Load packs for LLaMA-Factory with its own code: ``python tests/trainers/llama_factory.py [FOLDER]``.

The masks that it makes of the tests' conversations are compared with what a score counts; it has chat templates of its
own, so the contents are compared. FOLDER holds the packs ``llama-factory`` and ``llama-factory-preference`` of a run,
whose texts are compared. It needs an environment of its own with LLaMA-Factory in it; the page
docs/how-to/train-on-the-result.md has the commands.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import re
import sys
import tempfile
import types
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DISABLE_VERSION_CHECK"] = "1"  # It wants an older transformers.
for name in ("torchaudio",):  # Imported for sound alone; its wheel is made for other builds of torch.
    stub = types.ModuleType(name)
    stub.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = stub

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import DataArguments, ModelArguments  # noqa: E402
from transformers import AutoTokenizer, Seq2SeqTrainingArguments  # noqa: E402

from demo.model import find  # noqa: E402
from rt_framework.kit.turns import turns  # noqa: E402
from rt_framework.model import Pair  # noqa: E402
from tests.trainers.labels import export, runs  # noqa: E402


def load(folder: Path, stage: str, template: str = "chatml", masked: bool = False) -> tuple[object, object]:
    """Return the tokenizer and the rows of a pack, as LLaMA-Factory trains on them."""
    where, file = os.path.split(find())
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    with tempfile.TemporaryDirectory() as out:
        data = DataArguments(
            dataset_dir=str(folder),
            dataset="reflected",
            template=template,
            cutoff_len=4096,
            overwrite_cache=True,
            mask_history=masked,
        )
        training = Seq2SeqTrainingArguments(output_dir=out, use_cpu=True, report_to="none")
        model = ModelArguments(model_name_or_path="none", cache_dir=out)
        made = get_template_and_fix_tokenizer(tokenizer, data)
        return tokenizer, get_dataset(made, model, data, training, stage, tokenizer)["train_dataset"]


def check_masks(rule: str, template: str, out: Path) -> None:
    """Labels fall on the contents of exactly the trained turns."""
    pack = export(out, "llama-factory", rule)
    masked = "--mask_history true" in pack.told
    tokenizer, rows = load(pack.folder, "sft", template, masked)
    assert len(rows) == len(pack.rows), (len(rows), len(pack.rows))
    beside, compared = Counter(), 0
    for row, pair, place in zip(rows, pack.pairs, pack.places, strict=True):
        trained = list(turns(pair))
        trained = trained[place : place + 1] if masked else trained
        text = tokenizer.decode(row["input_ids"])
        for (start, end), turn in zip(runs(row["input_ids"], row["labels"], tokenizer), trained, strict=True):
            beside[_beside(text[start:end], turn)] += 1
            compared += 1
    print(f"{rule}, {template}: {len(rows)} rows, {compared} turns compared; {pack.told.splitlines()[0]}")
    for what, count in beside.most_common():
        print(f"  {count} with {what}")


def _beside(text: str, turn: Pair) -> str:
    """Check that a trained text holds the parts of a turn, in order; return what else it holds."""
    calls = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in turn.tool_calls]
    if calls:
        pattern = r"Action: (.*)\nAction Input: (.*?)(?=\nAction: |<\|im_end\|>)"
        found = [{"name": name, "arguments": json.loads(given)} for name, given in re.findall(pattern, text)]
        found = found or [json.loads(one) for one in re.findall(r"<tool_call>\n(.*?)\n</tool_call>", text)]
        assert found == calls, (text, calls)
        text = re.sub(r"Action: .*(?=<\|im_end\|>)|<tool_call>.*</tool_call>", "CALLS", text, flags=re.DOTALL)
    for name, part in (("THOUGHTS", turn.reasoning), ("CONTENT", turn.response)):
        if part:
            assert text.count(part) == 1, (text, part)
            text = text.replace(part, name)
    return repr(text)


def check_texts(folder: Path, stage: str) -> None:
    """Every row arrives, and what is trained on is the text of the pack."""
    tokenizer, rows = load(folder, stage)
    wanted = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == len(wanted), (len(rows), len(wanted))
    for row, one in zip(rows, wanted, strict=True):
        if stage == "sft":
            _told(tokenizer, row["labels"], one["messages"][-1]["content"])
        else:
            _told(tokenizer, row["chosen_labels"], one["chosen"]["content"])
            _told(tokenizer, row["rejected_labels"], one["rejected"]["content"])
    print(f"{folder.name}: {len(rows)} rows")


def _told(tokenizer: object, labels: list[int], text: str) -> None:
    told = tokenizer.decode([label for label in labels if label != -100], skip_special_tokens=True)
    assert told.strip() == text.strip(), (told, text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for template in ("chatml", "qwen3"):
            for rule in ("last", "all", "marked"):
                check_masks(rule, template, Path(made) / f"{template}-{rule}")
    if len(sys.argv) > 1:
        check_texts(Path(sys.argv[1]) / "llama-factory", "sft")
        check_texts(Path(sys.argv[1]) / "llama-factory-preference", "rm")
