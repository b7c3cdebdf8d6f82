"""Prompts that also stand in other files are found, and nothing else is."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from rt_compare.prompts import WORDS, Match, PromptIndex
from rt_framework import Pair, Turn

LONG = "Write a short story about a lighthouse keeper who finds a letter in a bottle on the beach."


def index(*pairs, name="eval.json"):
    return PromptIndex([(name, pairs)])


@pytest.mark.parametrize(
    ("prompt", "is_found"),
    [
        ("Name a river in Europe.", True),
        ("name  a RIVER, in Europe!", True),
        ("Ｎame a river in Europe.", True),  # a letter of full width, as East Asian keyboards write it
        ("Name a river in Europe and one in Asia.", False),
        ("Name a river.", False),
        ("", False),
        ("...", False),
    ],
)
def test_a_short_prompt_is_found_as_a_whole(prompt, is_found):
    """Case, punctuation, white space and forms of letters are ignored; a part of it, or more than it, is another."""
    found = index(Pair("Name a lake."), Pair("Name a river", "in Europe", "The Rhine.")).find(Pair(prompt))
    assert found == (Match("eval.json", 1, "name a river in europe") if is_found else None)


def test_a_long_prompt_is_found_by_thirteen_words_in_a_row():
    """Wherever they stand in either; twelve are too few."""
    words = LONG.rstrip(".").lower().split()
    held_out = index(Pair(LONG))
    assert len(words) > WORDS
    for first in range(len(words) - WORDS + 1):
        some = " ".join(words[first : first + WORDS])
        assert held_out.find(Pair(f"Please do this now: {some} (in verse)")) == Match("eval.json", 0, some)
    assert held_out.find(Pair(" ".join(["other", *words[: WORDS - 1], "other", *words[WORDS:]]))) is None
    assert held_out.find(Pair(" ".join(reversed(words)))) is None
    assert held_out.find(Pair(" ".join(words[: WORDS - 1]))) is None  # short, and not equal as a whole


def test_the_instruction_counts_with_its_input_and_the_response_does_not():
    """Also where the words go from one into the other, and in each user's turn of a conversation."""
    words = LONG.split()
    held_out = index(Pair(" ".join(words[:9]), " ".join(words[9:]), "Once upon a time."))
    assert held_out.find(Pair(LONG)) is not None
    assert held_out.find(Pair("Hello there.", "", LONG)) is None
    turns = (Turn("user", LONG), Turn("assistant", "Once."))
    assert held_out.find(Pair("Go on.", history=turns)) is not None
    assert held_out.find(Pair("Go on.", history=(Turn("user", "Tell."), Turn("assistant", LONG)))) is None


def test_scripts_without_blanks_are_taken_character_by_character():
    """Thirteen of them are enough."""
    text = "这是一个关于人工智能的简短说明它正在改变世界"
    assert index(Pair(text)).find(Pair(f"请看{text[2:15]}吗"))
    assert index(Pair(text)).find(Pair(text[:12])) is None
    assert index(Pair("a\ud800b c")).find(Pair("A\ud800B C")) is not None


def test_the_first_row_of_the_first_file_is_named():
    """Of several with the same words; row numbers begin anew in each file, and an empty one has none."""
    pairs = [Pair(f"Question number {n}?") for n in range(5)]
    held_out = PromptIndex([("none.json", []), ("a.json", pairs[:3]), ("b.json", pairs[1:])])
    assert len(held_out) == 7
    places = [(found.name, found.row) for pair in pairs if (found := held_out.find(pair))]
    assert places == [("a.json", 0), ("a.json", 1), ("a.json", 2), ("b.json", 2), ("b.json", 3)]
    assert PromptIndex([]).find(pairs[0]) is None
    assert len(PromptIndex([])) == 0


def test_it_finds_what_a_search_of_the_texts_finds():
    """For 300 prompts of few different words, some of which share thirteen in a row."""
    draw = random.Random(6)
    story = [str(draw.randrange(40)) for _ in range(400)]

    def prompt():
        at, size = draw.randrange(380), draw.randrange(1, 30)
        words = story[at : at + size]
        if draw.random() < 0.5:
            words[draw.randrange(len(words))] = "other"
        return words

    held_out, asked = ([prompt() for _ in range(count)] for count in (20, 300))
    known = index(*(Pair(" ".join(words)) for words in held_out))
    for words in asked:
        runs = {" ".join(words[at : at + WORDS]) for at in range(max(len(words) - WORDS + 1, 1))}
        equal = [
            one
            for one in held_out
            if (len(words) < WORDS and one == words)
            or (len(one) >= WORDS and any(f" {run} " in f" {' '.join(one)} " for run in runs if len(words) >= WORDS))
        ]
        assert (known.find(Pair(" ".join(words))) is not None) == bool(equal)


# --- the stage --------------------------------------------------------------------------------

ROWS = [
    {"instruction": "Name a river in Europe.", "input": "", "output": "The Rhine."},
    {"instruction": LONG, "input": "", "output": "Once upon a time."},
    {"instruction": "Name a lake.", "input": "In Africa.", "output": "Lake Victoria."},
    {"instruction": "Name a river in Asia.", "input": "", "output": "The Mekong."},
]


def decontaminated(rt_project, *against, before=()):
    """The lines of the side file of a run with the stage."""
    return rt_project.run([*before, {"decontaminate": {"against": list(against)}}], "rt_compare", rows=ROWS)


def test_samples_whose_prompt_stands_in_a_file_are_dropped(rt_project, rt):
    """The reason names the file, and its samples are counted together; the decision names the row and the words."""
    rt_project.write(
        "eval.json", [{"instruction": "Hm?", "output": ""}, {"instruction": "name a river, in europe", "output": ""}]
    )
    rt_project.write("more.jsonl", json.dumps({"prompt": f"Do this. {LONG}", "completion": "x"}))
    lines = decontaminated(rt_project, "eval.json", "more.jsonl")
    assert [line["outcome"] for line in lines] == ["dropped", "dropped", "original", "original"]
    assert [line["reason"] for line in lines[:2]] == ["prompt also in eval.json", "prompt also in more.jsonl"]
    whole, part = (line["decisions"][-1]["reason"] for line in lines[:2])
    assert whole == "eval.json, row 1 (from 0): the same text: name a river in europe"
    first = "write a short story about a lighthouse keeper who finds a letter in"
    assert part == f"more.jsonl, row 0 (from 0): 13 words in common: {first}"
    assert "dropped prompt also in eval.json 1 25.0 %" in rt("status", "runs/rt").words
    assert "eval.json, row 1 (from 0)" in rt("explain", "runs/rt", "0").words
    kept = json.loads((rt_project.folder / "runs/rt/kept.json").read_text())
    assert [row["instruction"] for row in kept] == ["Name a lake.", "Name a river in Asia."]


def test_every_data_file_that_a_run_reads_is_read(rt_project):
    """Conversations, tables, packed files, folders; columns with other names are named."""
    lake = "Name a lake.\nIn Africa."
    rt_project.write(
        "chat.jsonl",
        json.dumps({"messages": [{"role": "user", "content": lake}, {"role": "assistant", "content": "x"}]}),
    )
    rt_project.write("table.csv", f'instruction,output\n"{lake}",x\n')
    rt_project.write("packed.json.gz", gzip.compress(json.dumps([{"instruction": lake, "output": ""}]).encode()))
    rt_project.write("folder/one.jsonl", json.dumps({"instruction": lake, "output": ""}))
    rt_project.write("own.json", [{"question": lake, "source": "exam"}])
    own = {"path": "own.json", "columns": {"instruction": "question", "output": "source"}}
    for other in ("chat.jsonl", "table.csv", "packed.json.gz", "folder", own):
        lines = decontaminated(rt_project, other)
        assert [line["outcome"] for line in lines] == ["original", "original", "dropped", "original"], other


def test_a_rewrite_is_looked_for_and_not_the_original(rt_project):
    """The rewritten prompt counts, because the student would be trained on it."""
    rt_project.write("eval.json", [{"instruction": "Name a lake.", "input": "In Africa.", "output": ""}])
    before = [{"reflect": "instruction"}, {"choose": "newest"}]
    assert {line["outcome"] for line in decontaminated(rt_project, "eval.json", before=before)} == {"rewritten"}


@pytest.mark.parametrize(
    ("against", "words"),
    [
        ([], "name at least one file"),
        (["none.json"], "none.json: no such file"),
        (["own.json"], "in 'against' these keys stand beside the path: {path: own.json, columns: {…}}"),
        ([{"path": "own.json", "column": {}}], "unknown key 'column'"),
        ("eval.json", "expected a list"),
    ],
)
def test_what_cannot_be_read_is_told_before_the_run(rt, rt_project, against, words):
    """In one line, and nothing is written."""
    rt_project.write("own.json", [{"question": "Why?", "source": "exam"}])
    rt_project.write("data.json", ROWS)
    job = {"data": {"path": "data.json"}, "pipeline": [{"decontaminate": {"against": against}}]}
    rt_project.write("rt.yaml", job)
    assert words in rt("run", "rt.yaml").error()
    assert not (rt_project.folder / "runs").exists()


def test_no_output_replaces_a_file_that_is_searched(rt, rt_project):
    """It is an input of the run."""
    rt_project.write("runs/rt/kept.json", ROWS)
    rt_project.write("data.json", ROWS)
    job = {"data": {"path": "data.json"}, "pipeline": [{"decontaminate": {"against": ["runs/rt/kept.json"]}}]}
    rt_project.write("rt.yaml", job)
    assert "runs/rt/kept.json: is an input of this command" in rt("run", "rt.yaml").error()
