"""The ledger: what was acknowledged is on disk, what cannot be written stops the run, and looking changes nothing."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import zlib
from contextlib import closing

import pytest
from attrs import evolve

from rt_framework.errors import DataError, DiskError, TeacherError
from rt_framework.ledger import patterns
from rt_framework.ledger.database import Database
from rt_framework.ledger.known_keys import KnownKeys
from rt_framework.ledger.ledger import Ledger
from rt_framework.ledger.patterns import packed, unpacked
from rt_framework.ledger.salvage import salvage_ledger
from rt_framework.ledger.samples import SampleHistory
from rt_framework.ledger.schema import STEPS
from rt_framework.model import Decision, Failure, Pair, Reply, Score, Turn, Usage, Version, digest
from rt_framework.spans import SpanLoss
from rt_framework.testing import ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.older_ledgers import make_older
from tests.run_helpers import go, job, outputs, pair, request, rows, sample


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger.writing(path) as ledger:
        yield ledger


def seen(path, sql):
    """Return the rows that another process would read from the file at this moment."""
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as db:
        found = db.execute(sql).fetchall()
    db.close()
    return found


def break_table(path, table):
    """Make every insert into a table fail, as on a disk that fails: with an error that is none of the value's."""
    with sqlite3.connect(path) as db:
        db.execute(f"ALTER TABLE {table} RENAME TO lost")
    db.close()


async def answer(ledger, number, text="an answer"):
    """Commit one call whole; returns its key."""
    key = f"key-{number}"
    attempt = await ledger.attempts.intend(key, "teacher", request(number), 5)
    await ledger.attempts.answered(attempt, Reply(text, nano_dollars=3))
    return key


async def test_each_step_of_a_call_is_committed_when_it_is_acknowledged(ledger, path):
    """Another process sees the intent before anything is sent, and the answer before anything is parsed."""
    attempt = await ledger.attempts.intend("key", "teacher", request(), 5)
    assert seen(path, "SELECT state, reserved FROM attempts") == [("intent", 5)]
    assert ledger.calls.reply("key") is None
    reply = Reply("text", "length", Usage(3, 4), "model-x", 3)
    await ledger.attempts.answered(attempt, reply)
    assert seen(path, "SELECT state, cost FROM attempts") == [("answered", 3)]
    assert ledger.calls.reply("key") == reply


async def test_all_kinds_of_writes_are_seen_by_others_at_once(ledger, path):
    """Losses, samples and notes are committed before the await returns."""
    await ledger.losses.put({"a": SpanLoss(1.25, 3)})
    assert seen(path, "SELECT nll, tokens FROM losses") == [(1.25, 3)]
    await ledger.set_meta("frozen", {"data": 1})
    assert seen(path, "SELECT value FROM meta WHERE key = 'frozen'") == [('{"data": 1}',)]
    await ledger.samples.record(SampleHistory(sample(), "original", None))
    assert seen(path, "SELECT kept, outcome FROM samples") == [("original", "original")]


async def test_everything_is_there_after_reopening(path):
    """A second process finds every answer and loss, and knows which keys it lacks."""
    with Ledger.writing(path) as first:
        key = await answer(first, 1)
        losses = {"a": SpanLoss(1 / 3, 3), "b": SpanLoss(None, 0, "empty", "the target is empty")}
        await first.losses.put(losses)
    with Ledger.writing(path) as second:
        assert second.calls.reply(key) == Reply("an answer", nano_dollars=3)
        assert second.calls.reply("other") is None
        assert second.losses.find(["a", "b", "c"]) == losses


async def test_many_writers_at_once_get_their_own_numbers(ledger):
    """Statements that are committed together are not mixed up."""
    numbers = await asyncio.gather(*(ledger.attempts.intend(f"key-{n}", "teacher", request(n), n) for n in range(300)))
    assert len(set(numbers)) == 300
    await asyncio.gather(
        *(ledger.attempts.failed(at, TeacherError("timeout", str(n)), n) for n, at in enumerate(numbers))
    )
    calls = ledger.calls.find([f"key-{n}" for n in range(300)])
    assert all(call.attempts == (("failed", "timeout", str(n)),) for n, call in enumerate(calls.values()))
    assert ledger.costs.spent() == sum(range(300))


async def test_a_failed_write_stops_all_writing(ledger, path):
    """Nothing is acknowledged after something was lost, whatever it is; what was committed stays."""
    key = await answer(ledger, 1)
    assert ledger.losses.find(["a"]) == {}
    break_table(path, "losses")
    with pytest.raises(DiskError, match=r"ledger.sqlite: cannot be written: no such table"):
        await ledger.losses.put({"a": SpanLoss(1.0, 1)})
    with pytest.raises(DiskError, match="no such table"):
        await ledger.set_meta("a", 1)
    assert ledger.meta("a") is None
    assert ledger.calls.reply(key) is not None


async def test_a_write_is_whole_or_not_there(ledger, path):
    """If the second statement fails, the first is not kept either."""
    break_table(path, "attempts")
    with pytest.raises(DiskError):
        await ledger.attempts.intend("key", "teacher", request(), 0)
    assert seen(path, "SELECT * FROM calls") == []


async def test_a_value_that_cannot_be_stored_fails_alone(ledger):
    """SQLite's integers end at 64 bits. The writes that were to be committed with such a value are, and so are later
    ones: paid answers are never lost to the row of another.
    """
    asked = [await ledger.attempts.intend(f"key-{number}", "teacher", request(number), 5) for number in range(20)]
    answers = [ledger.attempts.answered(attempt, Reply("text", nano_dollars=3)) for attempt in asked]
    bad = [ledger.losses.put({"a": SpanLoss(1.0, tokens)}) for tokens in (2**70, None, object())]
    ends = await asyncio.wait_for(asyncio.gather(*answers[:10], *bad, *answers[10:], return_exceptions=True), 10)
    assert [type(end) for end in ends] == [type(None)] * 10 + [ValueError] * 3 + [type(None)] * 10
    assert "the ledger cannot store the value" in str(ends[10])
    assert all(ledger.calls.reply(f"key-{number}") is not None for number in range(20))
    assert ledger.losses.find(["a"]) == {}
    await ledger.losses.put({"a": SpanLoss(1.0, 2)})
    assert ledger.losses.find(["a"])["a"].tokens == 2


async def test_text_that_is_no_utf_8(ledger):
    """Lone surrogates, NUL and controls come back as they were, where they are data."""
    nasty = "a\ud800b\x00c\x1b[31m\u202e"
    key = await answer(ledger, 1, nasty)
    assert ledger.calls.reply(key).text == nasty
    await ledger.samples.record(
        SampleHistory(sample(1, response=nasty).failing(Failure("reflect", "format", nasty)), "original", nasty)
    )
    history = ledger.samples.history("sample-1")
    assert history.sample.original.pair.response == nasty
    assert history.reason == nasty.replace("\ud800", "\\ud800")


async def test_a_cut_write_ahead_log_opens_as_a_prefix(ledger, path, tmp_path):
    """Power goes at any byte: the answers found are the first ones, and writing goes on."""
    keys = [await answer(ledger, number) for number in range(12)]
    whole = path.with_name("ledger.sqlite-wal").read_bytes()
    kept = set()
    for number, size in enumerate([0, 10, *range(len(whole) // 3, len(whole), len(whole) // 9), len(whole)]):
        copy = tmp_path / str(number) / "ledger.sqlite"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        copy.with_name("ledger.sqlite-wal").write_bytes(whole[:size])
        with Ledger.writing(copy) as opened:
            there = [opened.calls.reply(key) is not None for key in keys]
            assert there == sorted(there, reverse=True)
            kept.add(sum(there))
            await answer(opened, 99)
            assert opened.calls.reply("key-99") is not None
    assert {0, 12} <= kept
    assert len(kept) > 4


def test_looking_creates_nothing(path):
    """`rt status` on a wrong directory leaves no file behind."""
    with pytest.raises(DataError, match="is this a run directory"):
        Ledger.reading(path)
    assert list(path.parent.iterdir()) == []


async def test_looking_changes_nothing(ledger, path):
    """A reader sees what the writer commits, and cannot write."""
    with Ledger.reading(path) as reader:
        with pytest.raises(DiskError, match="for reading only"):
            await reader.set_meta("a", 1)
        await ledger.set_meta("b", 2)
        assert (reader.meta("a"), reader.meta("b")) == (None, 2)


@pytest.mark.parametrize(("content", "error"), [(b"no database at all" * 99, DiskError), (b"", DataError)])
def test_a_file_that_is_no_ledger(path, content, error):
    """It is said so, and it is not touched."""
    path.write_bytes(content)
    with pytest.raises(error, match="ledger"):
        Ledger.reading(path)
    assert path.read_bytes() == content


async def test_a_ledger_from_before_batches_is_brought_up_to_date(path):
    """An attempt that the old ledger left open is settled as interrupted, and its reserved cost counts as spent."""
    with closing(sqlite3.connect(path)) as db:
        for statement in ";".join(STEPS[:2]).split(";"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('schema', '2')")
        db.execute("INSERT INTO attempts (call, state, reserved) VALUES ('key', 'intent', 7)")
        db.commit()
    with Ledger.writing(path) as ledger:
        assert ledger.batches.open() == []
        assert await ledger.attempts.settle_interrupted() == 1
        assert ledger.costs.spent() == 7


def test_a_run_of_before_packed_questions_goes_on_without_a_call(tmp_path):
    """With draws and conversations, whose place in a question has columns since; and its questions can be read."""
    draws = [{"reflect": {"reflection": {"instruction": {"temperature": 0.5}}, "draws": 2}}, {"choose": "newest"}]
    config = job(tmp_path, rows(3), draws)
    go(config, tmp_path / "run", told := ScriptedTeacher(rewriting))
    written, path = outputs(tmp_path / "run"), tmp_path / "run" / "ledger.sqlite"
    with Ledger.reading(path) as ledger:
        asked = ledger.calls.find(ledger.calls.keys_in_use())
    make_older(path, 7)
    go(config, tmp_path / "run", again := ScriptedTeacher(rewriting))
    assert (len(told.requests), len(again.requests)) == (6, 0)
    assert outputs(tmp_path / "run") == written
    with Ledger.reading(path) as ledger:
        assert list(ledger.calls.find(ledger.calls.keys_in_use()).items()) == list(asked.items())
        assert sorted(call.request.draw for call in asked.values()) == [0, 0, 0, 1, 1, 1]


async def test_a_ledger_from_before_packed_questions_can_be_salvaged(ledger, path, tmp_path):
    """Draw and step are read from its questions."""
    drawn = evolve(request(1), draw=2, step=1)
    await ledger.attempts.intend("ab" * 16, "teacher", drawn, 5)
    ledger.close()
    shutil.copy(path, before := tmp_path / "before.sqlite")
    make_older(path, 7)
    for number, old in enumerate((before, path)):
        salvage_ledger(old, new := tmp_path / f"{number}.sqlite")
        with Ledger.writing(new) as made:
            assert made.calls.find(["ab" * 16])["ab" * 16].request == drawn
        assert seen(new, "SELECT draw, step FROM calls") == [(2, 1)]


async def test_what_questions_share_is_stored_once(ledger, path):
    """Each comes back as it was, with text that is no UTF-8 and beyond the window of the packing."""
    system = "".join(f"Rule {number}: be brief.\n" for number in range(4000))
    asked = {
        f"{kind}-{number}": evolve(
            request(number),
            reflection=kind,
            messages=(Turn("system", text), Turn("user", f"{number} \ud800 \x00 {number * 7}")),
        )
        for kind, text in (("long", system), ("short", system[:3000]))
        for number in range(20)
    }
    await asyncio.gather(*(ledger.attempts.intend(key, "teacher", one, 5) for key, one in asked.items()))
    with Ledger.reading(path) as reader:
        found = reader.calls.find(asked)
        assert {key: call.request for key, call in found.items()} == asked
    ((count, most),) = seen(path, "SELECT COUNT(*), MAX(LENGTH(request)) FROM calls WHERE reflection = 'short'")
    assert (count, most < 300) == (20, True)
    assert seen(path, "SELECT COUNT(*) FROM patterns") == [(2,)]


def test_a_packed_question_is_read_whole_or_not_at_all(monkeypatch):
    """Bytes that are cut off, changed, or would fill the memory."""
    text, pattern = b'{"messages": "' + b"a" * 3000 + b'"}', b'{"messages": "'
    short = packed(text, pattern)
    assert unpacked(short, pattern).encode() == text
    changed = short[:-1] + bytes([short[-1] ^ 1])
    for wrong in (short[:-1], b"", changed):
        with pytest.raises((zlib.error, ValueError)):
            unpacked(wrong, pattern)
    monkeypatch.setattr(patterns, "_LONGEST", 2000)
    with pytest.raises(ValueError, match="longer than any question"):
        unpacked(short, pattern)


@pytest.mark.parametrize("change", ["UPDATE patterns SET text = x'00'", "DELETE FROM patterns"])
async def test_a_damaged_pattern_is_said_and_costs_no_answer(ledger, path, tmp_path, change):
    """Nobody can read its questions any more, but what was paid for is found by its key."""
    key = await answer(ledger, 1)
    with closing(sqlite3.connect(path)) as db:
        db.execute(change)
        db.commit()
    with Ledger.reading(path) as reader, pytest.raises(DiskError, match=f"question {key} cannot be read"):
        reader.calls.find([key])
    salvaged = salvage_ledger(path, tmp_path / "new.sqlite")
    assert (salvaged.answers, salvaged.attempts) == (1, 1)
    with Ledger.reading(tmp_path / "new.sqlite") as reader:
        assert reader.calls.reply(key) is not None


async def test_the_calls_of_a_batch_are_not_in_doubt(ledger):
    """They are open until the provider has said what became of them, and their cost counts as spent."""
    book = ledger.batches
    batch = await book.begin("token", 1.0, "teacher", [("a", request(1), 5), ("b", request(2), 6)])
    alone = await ledger.attempts.intend("c", "teacher", request(3), 7)
    await book.is_now("token", "submitted", "batch_1")
    await ledger.attempts.answered(batch.questions[0].attempt, Reply("yes", nano_dollars=1))
    assert await ledger.attempts.settle_interrupted() == 1
    assert ledger.calls.unknown() == ["c"]
    (left,) = book.open()
    assert (left.token, left.name, left.questions) == ("token", "batch_1", batch.questions[1:])
    assert alone not in {question.attempt for question in batch.questions}
    assert ledger.costs.spent() == 1 + 6 + 7
    await book.is_now("token", "collected")
    assert book.open() == []


async def test_each_question_of_a_batch_gets_the_number_of_its_own_attempt(ledger, path):
    """A question may be new, asked before, or in the batch twice: each answer has to be paid to its own attempt."""
    await answer(ledger, 1)
    keys = ["a", "key-1", "b", "b", "c"]
    batch = await ledger.batches.begin("token", 1.0, "teacher", [(key, request(n), n) for n, key in enumerate(keys)])
    rows = seen(
        path, "SELECT id, key, reserved FROM attempts JOIN calls ON number = call WHERE batch IS NOT NULL ORDER BY id"
    )
    assert [(asked.attempt, asked.key, asked.reserved) for asked in batch.questions] == rows
    assert [key for _, key, _ in rows] == keys


async def test_a_ledger_of_another_version_is_refused(path):
    """An old file is not read with new eyes."""
    Ledger.writing(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '999' WHERE key = 'schema'")
    db.close()
    with pytest.raises(DataError, match="a ledger of version 999, not 10; use the release that wrote it"):
        Ledger.reading(path)


async def test_a_history_comes_back_whole(ledger):
    """Versions with lineage, scores with status, decisions and failures, in their order."""
    told = (
        sample(3, system="be brief", history=(Turn("user", "hi"), Turn("assistant", "ho")))
        .adding(Version("instruction", pair(4), "original", "instruction", "key-1"))
        .deciding(Decision("choose-highest", ("original", "instruction"), "instruction", "0.9 > 0.8"))
        .failing(Failure("reflect-response", "empty", "the answer is empty", "key-2"))
    )
    told = told.scoring(
        {
            told.versions[0]: {"ifd": Score(0.8), "r-ifd": Score(None, "no_room", "does not fit")},
            told.versions[1]: {"ifd": Score(1.2, "out_of_range", "not < 1")},
        }
    )
    await ledger.samples.record(SampleHistory(told, "dropped", "gate ifd: not < 1"))
    history = ledger.samples.history(told.id)
    assert history == SampleHistory(told, "dropped", "gate ifd: not < 1")
    assert history.sample.scores == told.scores


async def test_a_sample_is_recorded_anew_not_twice(ledger):
    """A later run's account replaces the earlier one; histories come by row."""
    for number in (2, 0, 1):
        await ledger.samples.record(SampleHistory(sample(number).failing(Failure("s", "empty", "r")), "failed", "r"))
    await ledger.samples.record(SampleHistory(sample(2), "original", None))
    histories = list(ledger.samples.histories())
    assert [history.sample.row for history in histories] == [0, 1, 2]
    assert [history.outcome for history in histories] == ["failed", "failed", "original"]
    assert histories[2].sample.failures == ()
    await ledger.samples.forget()
    assert list(ledger.samples.histories()) == []
    assert ledger.samples.history("sample-0") is None


async def test_samples_are_found_by_id_its_beginning_or_row(ledger):
    """As a user types them; wildcards of SQL are only characters."""
    for number in (1, 12):
        await ledger.samples.record(SampleHistory(sample(number), "original", None))
    assert ledger.samples.find("12") == ["sample-12"]
    assert ledger.samples.find("sample-1") == ["sample-1"]
    assert ledger.samples.find("sample-") == ["sample-1", "sample-12"]
    assert ledger.samples.find("sample-12") == ["sample-12"]
    assert ledger.samples.find("%") == ledger.samples.find("sample_1") == []


async def test_calls_that_a_killed_run_left_open_are_listed_and_charged(path):
    """Nobody knows whether they were billed: the budget is charged all that they could cost."""
    with Ledger.writing(path) as first:
        await answer(first, 1)
        await first.attempts.intend("key-2", "teacher", request(2), 700)
    with Ledger.writing(path) as second:
        assert second.costs.spent() == 703
        assert await second.attempts.settle_interrupted() == 1
        assert second.calls.unknown() == ["key-2"]
        assert second.costs.spent() == 703
        assert second.attempts.counts() == {("answered", ""): 1, ("unknown", "interrupted_unknown"): 1}
        assert await second.attempts.settle_interrupted() == 0


async def test_a_call_tells_what_was_asked_and_answered(ledger):
    """Request and every attempt come back; calls are found by the pair that they are about."""
    asked = request(7, schema={"type": "object"})
    first = await ledger.attempts.intend("key", "teacher", asked, 0)
    await ledger.attempts.failed(first, TeacherError("timeout", "no answer within 1 s"), 0)
    second = await ledger.attempts.intend("key", "teacher", asked, 0)
    await ledger.attempts.answered(second, Reply("text"))
    call = ledger.calls.find(["key", "other"])["key"]
    assert (call.request, call.teacher, call.reply) == (asked, "teacher", Reply("text"))
    assert call.attempts == (("failed", "timeout", "no answer within 1 s"), ("answered", None, None))
    assert ledger.calls.keys_about([Pair("x").hash, pair(7).hash]) == ["key"]


# --- keys that are surely new -----------------------------------------------------------------


def test_a_known_key_is_never_taken_for_a_new_one():
    """And a new one seldom for a known one: each such error is a look-up that finds nothing."""
    known = KnownKeys()
    known.add(digest(number) for number in range(100_000))
    assert len(known.among(digest(number) for number in range(100_000))) == 100_000
    assert len(known.among(digest(-1 - number) for number in range(10_000))) < 100


async def test_a_key_that_is_written_while_keys_are_read_is_known(ledger):
    """Also if nothing was looked up before the first write, which is committed only later."""
    writing = asyncio.ensure_future(ledger.losses.put({"a": SpanLoss(1.5, 3)}))
    await asyncio.sleep(0)
    ledger.losses.find(["b"])
    await writing
    assert ledger.losses.find(["a"]) == {"a": SpanLoss(1.5, 3)}


async def test_a_new_key_costs_no_look_up(ledger, path, monkeypatch):
    """Keys of this run and of the runs before it are looked up, and those of a file that another process writes to."""
    asked = []
    rows = Database.rows
    monkeypatch.setattr(Database, "rows", lambda db, sql, values=(): asked.append(sql) or rows(db, sql, values))
    loss = SpanLoss(1.5, 3)
    assert ledger.losses.find(["a"]) == {}
    assert ledger.calls.reply("a") is None
    assert asked == ["SELECT key FROM losses", "SELECT key FROM calls"]
    await ledger.losses.put({"a": loss})
    key = await answer(ledger, 1)
    assert ledger.losses.find(["a", "b"]) == {"a": loss}
    assert ledger.calls.reply(key).text
    with Ledger.reading(path) as reader:
        await ledger.losses.put({"b": loss})
        assert reader.losses.find(["a", "b"]) == {"a": loss, "b": loss}
    ledger.close()
    with Ledger.writing(path) as later:
        assert later.losses.find(["a", "b", "c"]) == {"a": loss, "b": loss}
        assert later.calls.reply(key).text
