"""Load the packs for LLaMA-Factory with its own code: ``python tests/trainers/llama_factory.py FOLDER``.

FOLDER holds the packs ``llama-factory`` and ``llama-factory-preference``. It needs an environment of its own with
LLaMA-Factory in it; the page docs/how-to/train-on-the-result.md has the commands.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import sys
import tempfile
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "demo"))
os.environ["DISABLE_VERSION_CHECK"] = "1"  # It wants an older transformers.
for name in ("torchaudio",):  # Imported for sound alone; its wheel is made for other builds of torch.
    stub = types.ModuleType(name)
    stub.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = stub

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import DataArguments, ModelArguments  # noqa: E402
from model import find  # noqa: E402
from transformers import AutoTokenizer, Seq2SeqTrainingArguments  # noqa: E402


def check(folder: Path, stage: str) -> None:
    """Every row arrives, and what is trained on is the text of the pack."""
    where, file = os.path.split(find())
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    with tempfile.TemporaryDirectory() as out:
        data = DataArguments(
            dataset_dir=str(folder), dataset="reflected", template="chatml", cutoff_len=4096, overwrite_cache=True
        )
        training = Seq2SeqTrainingArguments(output_dir=out, use_cpu=True, report_to="none")
        model = ModelArguments(model_name_or_path="none", cache_dir=out)
        template = get_template_and_fix_tokenizer(tokenizer, data)
        rows = get_dataset(template, model, data, training, stage, tokenizer)["train_dataset"]
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
    packs = Path(sys.argv[1])
    check(packs / "llama-factory", "sft")
    check(packs / "llama-factory-preference", "rm")
