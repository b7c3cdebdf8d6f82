"""One training: supervised fine-tuning by TRL, with an adapter or of all weights, without traces elsewhere."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework import Pair
from rt_framework.errors import ModelError
from rt_framework.jobs.packing import packed
from rt_framework.kit.stdout import others_to_stderr
from rt_prove.settings import Learner, Training


@frozen
class Tokens:
    """Tokens of an arm, as it is trained on."""

    all: int
    target: int
    """Tokens of the trained turns, on which the loss is."""
    cut: int
    """Number of rows that are longer than the training takes."""
    lost: int
    """Number of these of whose trained turn nothing is left."""
    rows: int
    """Number of rows: one for each trained turn of a sample."""


def train(
    learner: Learner,
    pairs: Sequence[Pair],
    settings: Training,
    seed: int,
    rate: float,
    folder: Path,
    steps: int = -1,
    callbacks: Sequence[Any] = (),
) -> None:
    """Train on samples and save the adapter, or the whole model, in a folder.

    Args:
        learner: the model.
        pairs: the samples.
        settings: the settings.
        seed: decides the order of the samples and the initial weights of the adapter.
        rate: the learning rate.
        folder: where the result goes.
        steps: number of steps; as many as the epochs have when left out.
        callbacks: callbacks of transformers' trainer.

    Raises:
        ModelError: the model cannot be loaded or trained.
    """
    with _quiet(), _blamed(learner):
        from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, set_seed
        from trl import SFTTrainer

        set_seed(seed)
        weights = "float32" if settings.full else learner.dtype
        model = AutoModelForCausalLM.from_pretrained(learner.model, dtype=weights, use_safetensors=True)
        trainer = SFTTrainer(
            model=model,
            args=_arguments(settings, seed, rate, folder, steps),
            train_dataset=_dataset(pairs),
            processing_class=AutoTokenizer.from_pretrained(learner.model),
            peft_config=None if settings.full else _adapter(settings),
            callbacks=list(callbacks),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        _save(trainer.model, learner, settings, folder)


def _save(model: Any, learner: Learner, settings: Training, folder: Path) -> None:
    from transformers import AutoTokenizer

    if settings.full:
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(learner.model).save_pretrained(folder)
    else:
        # Whether the embeddings were resized is otherwise asked of the hub.
        model.save_pretrained(folder, save_embedding_layers=False)


def count_tokens(learner: Learner, pairs: Sequence[Pair], settings: Training) -> Tokens:
    """Return the tokens of samples as they are trained on, in one epoch.

    Raises:
        ModelError: the tokenizer cannot be loaded, or has no chat template.
    """
    with _quiet(), _blamed(learner):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(learner.model)
        if not tokenizer.chat_template:
            raise ModelError(f"model '{learner.model}' has no chat template, and the samples are conversations")
        total = target = cut = lost = rows = 0
        for row in packed("trl", pairs):
            tools = json.loads(row.get("tools") or "null")
            prompt = _length(tokenizer, row["prompt"], tools, answers=True)
            whole = _length(tokenizer, [*row["prompt"], *row["completion"]], tools, answers=False)
            rows += 1
            cut += whole > settings.max_length
            lost += prompt >= settings.max_length
            total += min(whole, settings.max_length)
            target += max(min(whole, settings.max_length) - prompt, 0)
        return Tokens(total, target, cut, lost, rows)


def _length(tokenizer: Any, messages: Sequence[Any], tools: Any, answers: bool) -> int:
    how = {"tools": tools, "add_generation_prompt": answers, "tokenize": True, "return_dict": True}
    return len(tokenizer.apply_chat_template(messages, **how)["input_ids"])


def device() -> str:
    """Return the name of the device on which models are trained here."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


def _dataset(pairs: Sequence[Pair]) -> Any:
    from datasets import Dataset

    # Otherwise messages would get the keys of all others, and calls of tools the arguments of all other calls.
    return Dataset.from_list([dict(row) for row in packed("trl", pairs)], on_mixed_types="use_json")


def _arguments(settings: Training, seed: int, rate: float, folder: Path, steps: int) -> Any:
    import torch
    from trl import SFTConfig

    on_gpu = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size // settings.accumulate,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        max_length=settings.max_length,
        completion_only_loss=True,
        seed=seed,
        data_seed=seed,
        use_cpu=not on_gpu,
        bf16=on_gpu,
        gradient_checkpointing=on_gpu,  # on a CPU memory is not what lacks
        dataloader_pin_memory=on_gpu,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )


def _adapter(settings: Training) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", task_type="CAUSAL_LM")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries from printing, warning, and telling their makers that they are used."""
    with warnings.catch_warnings(), others_to_stderr():
        warnings.simplefilter("ignore")
        import datasets
        import huggingface_hub.constants as hub
        from transformers.utils import logging as of_transformers

        # Read by huggingface_hub at each report; the variable of the environment is read only when it is imported.
        told, hub.HF_HUB_DISABLE_TELEMETRY = hub.HF_HUB_DISABLE_TELEMETRY, True
        of_transformers.set_verbosity_error()
        of_transformers.disable_progress_bar()
        datasets.disable_progress_bars()
        for name in ("trl", "accelerate", "datasets"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            hub.HF_HUB_DISABLE_TELEMETRY = told


@contextmanager
def _blamed(learner: Learner) -> Iterator[None]:
    """Turn an error of the libraries into one line that names the model."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(f"model '{learner.model}' cannot be trained: {type(error).__name__}: {first}") from error
