"""Promise 23: the bill of a run is below its quote; and it is the sum of its parts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from rt_framework.config import read_config
from rt_framework.jobs.quoting import quote
from rt_framework.plugin import Host
from rt_framework.results import open_run
from rt_framework.teacher import batch_exchange, batch_state
from rt_framework.testing.attacks import Attack, placed
from rt_framework.testing.server import FaultServer
from rt_framework.testing.wire import RawAnswer
from tests.reliability.jobs import http_job, litellm_at
from tests.run_helpers import http_answer, rows

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


class Usages:
    """Answers whose usages have random shares of cached prompts and of reasoning."""

    def __init__(self, drawn: random.Random) -> None:
        self._drawn = drawn

    def __call__(self, _number: int, _body: dict[str, object]) -> Attack:
        return Attack("usage", self._answer, "either")

    def _answer(self, honest: dict[str, object]) -> RawAnswer:
        used = dict(honest["usage"])
        cached = self._drawn.randint(0, used["prompt_tokens"])
        written = self._drawn.randint(0, used["prompt_tokens"] - cached)
        details = {"cached_tokens": cached, "cache_write_tokens": written}
        thought = {"reasoning_tokens": self._drawn.randint(0, used["completion_tokens"])}
        return RawAnswer(placed(honest, "usage", json.dumps(used | _details(details, thought))))


def _details(prompt: dict[str, int], answer: dict[str, int]) -> dict[str, object]:
    return {"prompt_tokens_details": prompt, "completion_tokens_details": answer}


def drawn_job(folder: Path, seed: int, first: FaultServer, second: FaultServer) -> tuple[Path, dict[str, float], bool]:
    """A config with two teachers of drawn prices; the prices of the first, and whether the second has batches."""
    drawn = random.Random(seed)

    def price() -> float:
        return round(drawn.choice([0.05, 1, 30]) * drawn.random(), drawn.randint(1, 7))

    prices = {name: price() for name in ("input_price", "output_price", "cached_price", "cache_write_price")}
    room = {"reasoning_tokens": drawn.choice([0, 50])}
    batched = drawn.random() < 0.5
    other = {"model": "openai/other-model", "input_price": price(), "output_price": price(), "batch": batched}
    pipeline = [
        {"reflect": {"reflection": {"instruction": {"temperature": 0.8}}, "draws": drawn.choice([1, 2])}},
        {"choose": {"highest": "ifd"}},
        {"reflect": {"reflection": "response", "teacher": "other"}},
        {"choose": {"lowest": "r-ifd"}},
    ]
    teachers = {"other": litellm_at(second, **other)}
    data = rows(drawn.randint(2, 6))
    more = {"teachers": teachers, "pipeline": pipeline, "limits": {"concurrency": 4}}
    config = http_job(folder, first, data, teacher=litellm_at(first, **prices, **room), **more)
    return config, prices, batched


def test_a_bill_is_below_its_quote_and_the_sum_of_its_parts(rt, tmp_path, size, monkeypatch):
    """With two teachers, caches, reasoning and batches: for each of them, and for all."""
    monkeypatch.setattr(batch_exchange, "_SOONEST", 0.05)
    monkeypatch.setattr(batch_state, "_QUIET", 0.05)
    for seed in range(size(10, 200)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with FaultServer(http_answer, Usages(random.Random(seed))) as first, FaultServer(http_answer) as second:
            config, prices, batched = drawn_job(folder, seed, first, second)
            host = Host(modules=["tests.fakes_plugin"], only=[], strict=True)
            most = quote(host, read_config(config), folder / "run").cost.high
            done = rt("run", config, "--run-dir", folder / "run")
            assert done.code == 0, done.err
        with open_run(folder / "run", host) as run:
            cost = run.cost
        assert 0 < cost.nano_dollars <= most
        assert sum(bill.nano_dollars for bill in cost.bills) == cost.nano_dollars
        for bill in cost.bills:
            assert (bill.rest, bill.charge.total) == (0, bill.nano_dollars)
            if "fake-model" in bill.teacher:
                _check_parts(bill, prices)
                assert bill.charge.batch_saving == 0
            else:  # half of the price, rounded up for each answer
                saved = bill.charge.batch_saving
                assert saved == (pytest.approx(bill.nano_dollars, abs=bill.answered) if batched else 0)


def _check_parts(bill, prices) -> None:
    """Each part is its tokens at its price, but for the rounding: less than a nano-dollar an answer and part."""
    used, charge = bill.usage, bill.charge
    parts = (
        (charge.prompt, used.prompt_tokens - used.cached_tokens - used.cache_write_tokens, "input_price"),
        (charge.cached, used.cached_tokens, "cached_price"),
        (charge.cache_write, used.cache_write_tokens, "cache_write_price"),
        (charge.answer, used.completion_tokens - used.reasoning_tokens, "output_price"),
        (charge.reasoning, used.reasoning_tokens, "output_price"),
    )
    for nano, tokens, name in parts:
        assert nano == pytest.approx(tokens * prices[name] * 1000, abs=5 * bill.answered)
