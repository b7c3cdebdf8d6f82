"""Load the packs for axolotl with its own code: ``python tests/trainers/axolotl_loads.py FOLDER``.

FOLDER holds the packs ``axolotl`` and ``axolotl-preference``. It needs an environment of its own with axolotl in it;
the page docs/how-to/train-on-the-result.md has the commands.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "demo"))
os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"

import yaml
from axolotl.loaders import load_tokenizer
from axolotl.utils.config import normalize_cfg_datasets, validate_config
from axolotl.utils.data.rl import prepare_preference_datasets
from axolotl.utils.data.sft import prepare_datasets
from axolotl.utils.dict import DictDefault
from model import find
from transformers import AutoConfig, AutoTokenizer


def check(folder: Path, base: Path, out: Path) -> None:
    """The stanza is valid, every row arrives, and what is trained on is the text of the pack."""
    os.chdir(folder)
    rest = {
        "base_model": str(base),
        "sequence_len": 4096,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-4,
        "dataset_prepared_path": str(out / folder.name),
        "output_dir": str(out),
        "dataset_num_proc": 1,
    }
    cfg = validate_config(DictDefault({**rest, **yaml.safe_load(Path("axolotl.yaml").read_text("utf-8"))}))
    cfg.tokenizer_config = cfg.base_model_config = str(base)
    cfg.batch_size = 1
    normalize_cfg_datasets(cfg)
    tokenizer = load_tokenizer(cfg)
    wanted = [json.loads(line) for line in Path("train.jsonl").read_text("utf-8").splitlines()]
    rows = (prepare_preference_datasets if cfg.rl else prepare_datasets)(cfg, tokenizer)[0]
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
    packs = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as made:
        where, file = os.path.split(find())
        AutoTokenizer.from_pretrained(where, gguf_file=file).save_pretrained(made)
        AutoConfig.from_pretrained(where, gguf_file=file).save_pretrained(made)
        for name in ("axolotl", "axolotl-preference"):
            check(packs / name, Path(made), Path(made) / "out")
