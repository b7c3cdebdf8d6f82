"""Load packs for axolotl with its own code: ``python tests/trainers/axolotl_loads.py [FOLDER]``.

The masks that it makes of the tests' conversations are compared with what a score counts. FOLDER holds the packs
``axolotl`` and ``axolotl-preference`` of a run, whose texts are compared. It needs an environment of its own with
axolotl in it; the page docs/how-to/train-on-the-result.md has the commands.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"

import yaml
from axolotl.loaders import load_tokenizer
from axolotl.utils.config import normalize_cfg_datasets, validate_config
from axolotl.utils.data.rl import prepare_preference_datasets
from axolotl.utils.data.sft import prepare_datasets
from axolotl.utils.dict import DictDefault
from transformers import AutoConfig, AutoTokenizer

from demo.model import find
from tests import chat_templates
from tests.trainers.labels import compare, export, targets


def load(folder: Path, base: Path, out: Path) -> tuple[object, object]:
    """Return the tokenizer and the rows of a pack, as axolotl trains on them."""
    os.chdir(folder)
    rest = {
        "base_model": str(base),
        "sequence_len": 4096,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-4,
        "dataset_prepared_path": str(out / "prepared"),
        "output_dir": str(out),
        "dataset_num_proc": 1,
        "shuffle_merged_datasets": False,
    }
    cfg = validate_config(DictDefault({**rest, **yaml.safe_load(Path("axolotl.yaml").read_text("utf-8"))}))
    cfg.tokenizer_config = cfg.base_model_config = str(base)
    cfg.batch_size = 1
    normalize_cfg_datasets(cfg)
    tokenizer = load_tokenizer(cfg)
    return tokenizer, (prepare_preference_datasets if cfg.rl else prepare_datasets)(cfg, tokenizer)[0]


def check_masks(rule: str, template: str, base: Path, out: Path) -> None:
    """Labels fall, on the content, exactly on what a score counts."""
    pack = export(out / "data", "axolotl", rule)
    tokenizer, rows = load(pack.folder, base, out)
    assert len(rows) == len(pack.rows), (len(rows), len(pack.rows))
    unscored, beside, turns = Counter(), Counter(), 0
    for row, pair in zip(rows, pack.pairs, strict=True):
        expected = targets(pair, tokenizer, alone=False)
        if isinstance(expected, str):
            unscored[expected] += 1
        else:
            beside += compare(row["input_ids"], row["labels"], tokenizer, expected)
            turns += len(expected)
    print(f"{rule}, {template}: {len(rows)} rows, {turns} turns compared; without a score: {dict(unscored)}")
    for text, count in beside.most_common():
        print(f"  {count} with {text}")


def check_texts(folder: Path, base: Path, out: Path) -> None:
    """The stanza is valid, every row arrives, and what is trained on is the text of the pack."""
    wanted = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    tokenizer, rows = load(folder, base, out)
    assert len(rows) == len(wanted), (len(rows), len(wanted))
    got, expected = _told(tokenizer, rows), [_text(one) for one in wanted]
    assert sorted(got) == sorted(expected), sorted(set(got) ^ set(expected))[:2]
    print(f"{folder.name}: {len(rows)} rows")


def _told(tokenizer: object, rows: object) -> list[str]:
    if "chosen" in rows.column_names:
        return [(row["chosen"] + row["rejected"]).replace("<|im_end|>", "") for row in rows]
    trained = ([label for label in row["labels"] if label != -100] for row in rows)
    return [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in trained]


def _text(row: dict[str, object]) -> str:
    if "chosen" in row:
        return row["chosen"]["content"] + row["rejected"]["content"]
    return row["messages"][-1]["content"].strip()


if __name__ == "__main__":
    packs = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as made:
        where, file = os.path.split(find())
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
        tokenizer.eos_token = "<|im_end|>"  # that of the model; transformers 5.16 reads another one from the GGUF file
        for template in ("SMOLLM2", "REASONING", "TOOLS"):
            base = Path(made) / template
            if template != "SMOLLM2":
                tokenizer.chat_template = getattr(chat_templates, template)
            tokenizer.save_pretrained(base)
            AutoConfig.from_pretrained(where, gguf_file=file).save_pretrained(base)
            for rule in ("last", "all", "marked"):
                check_masks(rule, template, base, Path(made) / f"{template}-{rule}")
        for name in ("axolotl", "axolotl-preference") if packs else ():
            check_texts(packs / name, Path(made) / "SMOLLM2", Path(made) / name)
