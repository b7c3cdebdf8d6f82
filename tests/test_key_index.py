"""The index of keys: every row is found, however many segments there are, and segments are few."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework.errors import DiskError
from rt_framework.ledger import key_index
from rt_framework.ledger.ledger import Ledger
from rt_framework.ledger.readable import READABLE
from rt_framework.ledger.salvage import salvage_ledger
from rt_framework.ledger.schema import VERSION
from rt_framework.model import Reply, digest
from rt_framework.spans import SpanLoss
from tests.older_ledgers import make_older
from tests.run_helpers import pair, request


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that are full, and merged, after a few rows."""
    monkeypatch.setattr(key_index, "FULL", 3)
    monkeypatch.setattr(key_index, "FAN", 2)


def segments(path: Path) -> list[tuple[str, int, int]]:
    """Return what each segment is of, its level, and the number of its keys."""
    both = "index_segments LEFT JOIN index_keys ON segment = index_segments.number"
    sql = f"SELECT of, level, COUNT(key) FROM {both} GROUP BY index_segments.number"
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


async def ask(ledger: Ledger, key: str, number: int) -> None:
    """Commit a question and its answer."""
    attempt = await ledger.attempts.intend(key, "teacher", request(number), 5)
    await ledger.attempts.answered(attempt, Reply(f"answer {number}", nano_dollars=1))


@pytest.mark.usefixtures("small_segments")
async def test_every_key_is_found_in_every_segment(path):
    """By the run that wrote it, by a later one, and by a reader; other keys are not, and segments stay few."""
    losses = {digest(number): SpanLoss(float(number), 1) for number in range(500)}
    keys = [digest(["call", number]) for number in range(60)]
    with Ledger.writing(path) as ledger:
        for key, loss in losses.items():
            await ledger.losses.put({key: loss})
        for number, key in enumerate(keys):
            await ask(ledger, key, number)
        assert ledger.losses.find([*losses, digest(-1)]) == losses
    for later in (Ledger.reading, Ledger.writing):
        with later(path) as ledger:
            assert ledger.losses.find([*losses, digest(-1)]) == losses
            assert [ledger.calls.reply(key).text for key in keys] == [f"answer {number}" for number in range(60)]
            assert ledger.calls.reply(digest(-1)) is None
            assert ledger.calls.keys_about(pair(number).hash for number in range(60)) == keys
            assert ledger.costs.about([pair(7).hash, pair(99).hash]) == 1
    found = segments(path)
    assert {of: sum(count for kind, _, count in found if kind == of) for of in key_index.INDEXED} == {
        "losses": 500,
        "calls": 60,
        "pairs": 60,
    }
    assert max(count for _, level, count in found if level == 0) <= 4
    for of in key_index.INDEXED:
        levels = [level for kind, level, _ in found if kind == of]
        assert levels.count(0) == 1
        assert all(levels.count(level) <= 1 for level in range(1, key_index.TOP))


@pytest.mark.usefixtures("small_segments")
async def test_keys_that_begin_alike_are_told_apart(path):
    """By the rows: the index holds the beginnings of keys alone."""
    alike = [f"{'0' * 30}{number:02}" for number in range(20)]
    losses = {key: SpanLoss(float(number), 1) for number, key in enumerate(alike)}
    with Ledger.writing(path) as ledger:
        for key in alike[:-1]:
            await ledger.losses.put({key: losses[key]})
        assert ledger.losses.find(alike[3:5]) == {key: losses[key] for key in alike[3:5]}
        assert ledger.losses.find(alike[-1:]) == {}
        for number, key in enumerate(alike):
            await ask(ledger, key, number)
        assert [ledger.calls.reply(key).text for key in alike] == [f"answer {number}" for number in range(20)]


async def test_the_latest_of_two_losses_counts(path):
    """A loss is computed again when a metric wants those of its tokens; the rest of it may differ by rounding."""
    with Ledger.writing(path) as ledger:
        await ledger.losses.put({"a": SpanLoss(1.0, 2)})
        assert ledger.losses.find_by_token(["a"]) == {}
        later = SpanLoss(1.5, 2, token_nll=[1.0, 0.5], token_ranks=[3, 1])
        await ledger.losses.put({"a": later})
        assert ledger.losses.find(["a"]) == {"a": SpanLoss(1.5, 2)}
        assert list(ledger.losses.find_by_token(["a"])["a"].token_nll) == [1.0, 0.5]


async def test_a_question_is_there_once_however_often_it_is_asked(path):
    """Also where the attempts at it are committed together, and where an earlier run has asked it."""
    for _ in range(2):
        with Ledger.writing(path) as ledger:
            await asyncio.gather(*(ledger.attempts.intend("key", "teacher", request(), cost) for cost in (1, 2, 3)))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT number, key FROM calls").fetchall() == [(1, "key")]
        assert db.execute("SELECT call, COUNT(*) FROM attempts GROUP BY call").fetchall() == [(1, 6)]


async def test_a_question_is_there_once_if_a_batch_and_a_live_call_ask_it(path):
    """The batch waits for the pattern of another question before it is written."""
    batch = [("key", request(1), 1), ("other", evolve(request(2), reflection="another"), 1)]
    with Ledger.writing(path) as ledger:
        await ask(ledger, "first", 0)  # the pattern of the first question is known
        live = ledger.attempts.intend("key", "teacher", request(1), 1)
        await asyncio.gather(ledger.batches.begin("token", 1.0, "teacher", batch), live)
    with closing(sqlite3.connect(path)) as db:
        attempts = (
            "SELECT COUNT(attempts.id) FROM calls LEFT JOIN attempts ON call = number WHERE key = 'key' GROUP BY number"
        )
        assert db.execute(attempts).fetchall() == [(2,)]


@pytest.mark.usefixtures("small_segments")
async def test_an_index_that_cannot_be_tidied_loses_nothing(path, monkeypatch):
    """A disk that is full at that moment: the rows are committed before, and found in the untidy index."""
    losses = {digest(number): SpanLoss(float(number), 1) for number in range(20)}
    tried = []

    def full(*_: object) -> int:
        tried.append(1)
        raise sqlite3.OperationalError("database or disk is full")

    with Ledger.writing(path) as ledger:
        with monkeypatch.context() as broken:
            broken.setattr(key_index, "_new_segment", full)
            for key, loss in losses.items():
                await ledger.losses.put({key: loss})
        assert ledger.losses.find(losses) == losses
        assert len(tried) > 5
        await ledger.losses.put({"last": SpanLoss(1.0, 1)})
        assert ledger.losses.find(losses) == losses
    assert sum(count for of, _, count in segments(path) if of == "losses") == 21
    assert ("losses", 0, 20) not in segments(path)


async def test_an_attempt_whose_call_is_lost_is_none_at_a_later_call(path, tmp_path):
    """A salvage gives later calls the numbers of those that were lost; their money stays spent."""
    with Ledger.writing(path) as ledger:
        await ask(ledger, "first", 1)
        await ask(ledger, "lost", 2)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE calls SET request = 'no question', pattern = NULL WHERE key = 'lost'")
        db.commit()
    salvage_ledger(path, new := tmp_path / "new.sqlite")
    with Ledger.writing(new) as ledger:
        assert (ledger.costs.spent(), ledger.calls.reply("first").text) == (2, "answer 1")
        attempt = await ledger.attempts.intend("later", "teacher", request(3), 5)
        call = ledger.calls.find(["later"])["later"]
        assert (attempt, call.attempts, call.reply, call.nano_dollars) == (3, (("intent", None, None),), None, 5)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
async def test_a_damaged_ledger_of_any_version_is_salvaged(path, tmp_path, version):
    """Also where the note of its version cannot be read: the layout itself tells it."""
    with Ledger.writing(path) as ledger:
        await ask(ledger, "ab" * 16, 1)
        await ledger.losses.put({"cd" * 16: SpanLoss(1.5, 2)})
    if version < VERSION:
        make_older(path, version)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = 'nonsense' WHERE key = 'schema'")
        db.commit()
    told = salvage_ledger(path, new := tmp_path / "new.sqlite")
    assert (told.answers, told.attempts, told.losses) == (1, 1, 1)
    with Ledger.writing(new) as ledger:
        assert ledger.calls.reply("ab" * 16).text == "answer 1"
        assert ledger.calls.find(["ab" * 16])["ab" * 16].request == request(1)
        assert ledger.losses.find(["cd" * 16]) == {"cd" * 16: SpanLoss(1.5, 2)}


@pytest.mark.parametrize("table", ["meta", "calls", "attempts", "losses", "versions", "index_keys"])
@pytest.mark.parametrize("version", [1, 9, VERSION])
async def test_a_ledger_whose_table_definitions_are_damaged_is_salvaged(path, tmp_path, table, version):
    """SQLite refuses the whole file for one wrong character in the text that defines a table."""
    with Ledger.writing(path) as ledger:
        await ask(ledger, "ab" * 16, 1)
        await ledger.losses.put({"cd" * 16: SpanLoss(1.5, 2)})
    if version < VERSION:
        make_older(path, version)
    wrong, count = re.subn(rf'(CREATE TABLE "?{table}"? *)\('.encode(), rb"\1" + b"\x84", path.read_bytes())
    if not count:
        pytest.skip("this version has no such table")
    path.write_bytes(wrong)
    path.with_name(f"{path.name}-seal").unlink(missing_ok=True)
    with pytest.raises(DiskError, match=r"damaged: .*were paid for.*rt salvage"):
        Ledger.reading(path)
    told = salvage_ledger(path, new := tmp_path / "new.sqlite")
    assert (told.answers, told.attempts, told.losses) == (1, 1, 1)
    assert path.read_bytes() == wrong
    assert not list(tmp_path.glob(f"{READABLE}*"))
    with Ledger.writing(new) as ledger:
        assert ledger.calls.reply("ab" * 16).text == "answer 1"
        assert ledger.losses.find(["cd" * 16]) == {"cd" * 16: SpanLoss(1.5, 2)}
