"""The replay teacher: answers from a file, or a clear word."""

import gc
import json
import tracemalloc

import pytest

from rt_framework.builtin.teachers.offsets import Offsets
from rt_framework.builtin.teachers.replay import ReplayTeacher
from rt_framework.builtin.teachers.settings import ReplaySettings
from rt_framework.errors import DataError, TeacherError
from rt_framework.model import Reply, Request, Sampling, Turn, Usage

ROW = {"reflection": "response", "pair": "abc", "index": 0, "text": "Größe"}


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def teacher(path):
    return ReplayTeacher(ReplaySettings(str(path)))


def make_request(reflection="response", pair="abc", index=0):
    return Request(reflection, pair, index, (Turn("user", "anything"),), Sampling())


async def test_answers_are_found_by_reflection_pair_and_index(tmp_path):
    """Each of the three parts of the key tells answers apart; what is asked does not matter."""
    rows = [
        ROW,
        ROW | {"index": 1, "text": "b"},
        ROW | {"pair": "xyz", "text": "c"},
        ROW | {"reflection": "instruction", "text": "d"},
    ]
    replay = teacher(write(tmp_path / "answers.jsonl", *rows))
    asked = [make_request(), make_request(index=1), make_request(pair="xyz"), make_request(reflection="instruction")]
    assert [(await replay.complete(request)).text for request in asked] == ["Größe", "b", "c", "d"]


async def test_optional_columns_make_the_reply(tmp_path):
    """Finish reason, tokens and model are passed on; unknown columns and empty lines are not read."""
    more = {"finish_reason": "length", "prompt_tokens": 7, "completion_tokens": 5, "model": "m", "note": "n"}
    replay = teacher(write(tmp_path / "answers.jsonl", "", ROW | more, ""))
    assert await replay.complete(make_request()) == Reply("Größe", "length", Usage(7, 5), "m")


async def test_missing_answer_is_a_named_failure(tmp_path):
    """A miss names the file and what was looked for."""
    path = write(tmp_path / "answers.jsonl", ROW)
    with pytest.raises(TeacherError) as caught:
        await teacher(path).complete(make_request(index=3))
    assert caught.value.kind.name == "no_answer"
    assert caught.value.message == f"{path} has no answer for reflection response, pair abc, index 3"


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ([], "holds no answers"),
        ([ROW, '{"reflection": '], "line 2: not JSON"),
        (["[1]"], "line 1: not a JSON object"),
        ([{k: v for k, v in ROW.items() if k != "pair"}], "line 1: 'pair' is missing"),
        ([ROW | {"index": "0"}], "line 1: 'index' must be a whole number, not \"0\""),
        ([ROW | {"index": True}], "line 1: 'index' must be a whole number, not true"),
        ([ROW | {"text": None}], "line 1: 'text' must be a string, not null"),
        ([ROW, ROW | {"text": "other"}], "line 2: a second, different answer"),
    ],
)
def test_unusable_file_says_where_and_why(tmp_path, lines, word):
    """Every fault of the file is named with its line before any answer is used."""
    path = write(tmp_path / "answers.jsonl", *lines)
    with pytest.raises(DataError, match=word) as caught:
        _ = teacher(path).identity
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path):
    """A file in another encoding is a data error, not a crash."""
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"reflection": "\xff"}\n')
    with pytest.raises(DataError, match="line 1: not JSON"):
        _ = teacher(path).identity


def test_missing_file_is_named(tmp_path):
    """A file that is not there is named; nothing is read before the first use."""
    replay = teacher(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"none\.jsonl: No such file"):
        _ = replay.identity


async def test_a_repeated_line_is_no_fault(tmp_path):
    """The same answer twice is one answer."""
    replay = teacher(write(tmp_path / "answers.jsonl", ROW, ROW))
    assert (await replay.complete(make_request())).text == "Größe"


def test_identity_is_the_content_of_the_file(tmp_path):
    """A copy is the same teacher; a changed file is another."""
    first = teacher(write(tmp_path / "a.jsonl", ROW)).identity
    assert first == teacher(write(tmp_path / "b.jsonl", ROW)).identity
    assert first != teacher(write(tmp_path / "c.jsonl", ROW | {"text": "x"})).identity


@pytest.mark.parametrize("structured", [True, False])
def test_structured_is_as_set(tmp_path, structured):
    """The file's owner says in which form its answers are."""
    assert ReplayTeacher(ReplaySettings(str(tmp_path), structured)).structured is structured


async def test_a_long_file_is_held_as_places_only(tmp_path):
    """Every answer of many is found, in less memory than its key alone would take."""
    count = 5000
    rows = (ROW | {"pair": f"{number:032x}", "text": f"answer {number}"} for number in range(count))
    replay = teacher(write(tmp_path / "answers.jsonl", *rows))
    assert replay.identity
    gc.collect()
    tracemalloc.start()
    again = teacher(tmp_path / "answers.jsonl")
    assert again.identity == replay.identity
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 60 * count
    for number in (0, 1, 777, 2500, count - 1):
        assert (await again.complete(make_request(pair=f"{number:032x}"))).text == f"answer {number}"
    with pytest.raises(TeacherError):
        await again.complete(make_request(pair="f" * 32))


def test_places_of_keys_with_one_hash_are_all_told():
    """Two keys share a hash, so both places are returned and a reader picks its own; a growing table loses none."""
    assert hash(-1) == hash(-2)
    places = Offsets(4)
    for number, key in enumerate([-1, -2, *range(1, 200)]):
        places.add(key, number)
    assert list(places.of(-1)) == list(places.of(-2)) == [0, 1]
    assert all(number in places.of(number - 1) for number in range(2, 201))
    assert list(places.of(1000)) == []
    assert len(places) == 201
