"""Out of memory splits the batch; scores equal. Injected here; on a device with too little memory in `tests/gpu`."""

from __future__ import annotations

import random

import pytest

from rt_framework.errors import OutOfMemory
from rt_framework.kit.packing import PrefixRow
from rt_framework.ledger.ledger import Ledger
from rt_framework.testing import FakeStudent
from tests.run_helpers import GATES, SELECTIVE, go, job, outputs, pair, rows, side
from tests.scoring_helpers import BOTH, PAIRS, scores


class Small(FakeStudent):
    """A student on a device that holds so many sequences at once."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.refused = []

    def score(self, batch):
        if len(batch) > self.most:
            self.refused.append(len(batch))
            raise OutOfMemory("no room")
        return super().score(batch)


@pytest.mark.parametrize("most", [1, 3, 7])
async def test_a_batch_that_does_not_fit_is_halved(most, ledger, tmp_path):
    """As often as need be; the scores are those of a larger device."""
    with Ledger.writing(tmp_path / "roomy.sqlite") as roomy:
        expected = await scores(roomy, PAIRS)
    student = Small(most)
    assert await scores(ledger, PAIRS, student=student, batch_tokens=100_000) == expected
    assert student.refused[0] == 40
    assert len(student.refused) > 1


class Tight(FakeStudent):
    """A student on a device with room for so many tokens, shared prefixes counted once."""

    packs = True
    batch_tokens = 10_000
    path = "tight"

    def __init__(self, room):
        super().__init__()
        self.room = room
        self.sizes = []

    def score(self, batch):
        self.sizes.append(len(PrefixRow.of(batch).ids))
        if self.sizes[-1] > self.room and len(batch) > 1:
            raise OutOfMemory("no room")
        return super().score(batch)


async def test_a_device_that_was_full_once_gets_smaller_batches(ledger, tmp_path):
    """The budget is halved for good, so that not every batch is computed twice."""
    pairs = [pair(number) for number in range(150)]
    expected = await scores(ledger, pairs)
    other, student = Ledger.writing(tmp_path / "other.sqlite"), Tight(300)
    assert await scores(other, pairs, student=student, batch_tokens=None) == expected
    other.close()
    first = next(at for at, size in enumerate(student.sizes) if size <= 300)
    assert sum(size > 300 for size in student.sizes) <= first + 3
    assert len(student.sizes) > 8


class Fragmented(FakeStudent):
    """A student that runs out of memory now and then, whatever it is given."""

    def __init__(self, seed):
        super().__init__()
        self.random = random.Random(seed)
        self.refused = 0

    def score(self, batch):
        if len(batch) > 1 and self.random.random() < 0.4:
            self.refused += 1
            raise OutOfMemory("no room just now")
        return super().score(batch)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("packs", [False, True])
async def test_running_out_of_memory_anywhere_changes_no_score(seed, packs, ledger, tmp_path):
    """At random batches, again and again, padded or packed."""
    expected = await scores(ledger, PAIRS, BOTH)
    student = Fragmented(seed)
    if packs:
        student.packs, student.batch_tokens, student.path = True, 200, "packed"
    with Ledger.writing(tmp_path / "other.sqlite") as other:
        assert await scores(other, PAIRS, BOTH, student=student, batch_tokens=200) == expected
    assert student.refused > 0


async def test_a_sequence_that_does_not_fit_alone_is_a_status(ledger):
    """It has no number; its neighbours have theirs."""

    class Narrow(FakeStudent):
        def score(self, batch):
            if any(len(span.ids) > 60 for span in batch):
                raise OutOfMemory("no room")
            return super().score(batch)

    long = pair(99, response="word " * 60)
    found = await scores(ledger, [*PAIRS, long], student=Narrow(), batch_tokens=100_000)
    assert all(one["ifd"].status == "ok" for one in found[:-1])
    assert (found[-1]["ifd"].value, found[-1]["ifd"].status) == (None, "oom")
    assert "does not fit the device" in found[-1]["ifd"].reason


@pytest.mark.parametrize("student", [lambda: Small(1), lambda: Small(5), lambda: Fragmented(7)])
def test_a_run_on_a_small_device_gives_the_same_files(student, tmp_path, size):
    """Data set and side file, byte for byte; and the batches that did not fit were there."""
    data, used = rows(size(12, 200)), student()
    go(job(tmp_path, data, [*SELECTIVE, *GATES]), tmp_path / "roomy")
    go(job(tmp_path, data, [*SELECTIVE, *GATES]), tmp_path / "small", student=used)
    assert outputs(tmp_path / "small") == outputs(tmp_path / "roomy")
    assert used.refused


def test_a_device_that_holds_no_sequence_fails_no_run(tmp_path):
    """Every score has the status `oom` and a reason; every sample is accounted for, by the version it had."""
    summary = go(job(tmp_path, rows(4), SELECTIVE), tmp_path / "run", student=Small(0))
    assert (summary.total, summary.outcomes["failed"]) == (4, 0)
    found = [one for line in side(tmp_path / "run") for scores in line["scores"].values() for one in scores.values()]
    assert found
    assert {one["status"] for one in found} == {"oom"}
