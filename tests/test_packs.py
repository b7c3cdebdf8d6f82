"""Packs for trainers, preference pairs and the folder for the hub, as their files are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from rt_framework.config import Data
from rt_framework.data import open_source
from rt_framework.errors import ConfigError
from rt_framework.export.hub import export_hub
from rt_framework.export.packs import PACKS, export_data_pack, export_pack
from rt_framework.ledger.ledger import Ledger
from rt_framework.plugin.host import Host
from tests.helpers import CONFIG, Cli, write_json
from tests.run_helpers import SELECTIVE, go, job, json_lines, rows, side

HALF = [*SELECTIVE, {"select": {"top": {"metric": "ifd", "count": 4}}}]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A finished run over twelve samples, of which four are kept."""
    folder = tmp_path_factory.mktemp("packs")
    go(job(folder, rows(12), HALF), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def whole_dir(tmp_path_factory) -> Path:
    """A finished run that keeps all of thirty samples."""
    folder = tmp_path_factory.mktemp("whole")
    go(job(folder, rows(30), SELECTIVE), folder / "run")
    return folder / "run"


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line, called in a directory with six samples and a config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    return Cli(monkeypatch, capfd)


def exported(run_dir: Path, out: Path, pack: str) -> list[dict[str, Any]]:
    """The rows of a pack."""
    export_pack(Host(only=[]), run_dir, out, pack)
    return json_lines(out / "train.jsonl")


def kept(run_dir: Path) -> list[dict[str, str]]:
    """Return the samples that the run itself wrote as kept."""
    return json.loads((run_dir / "kept.json").read_text("utf-8"))


@pytest.mark.parametrize("pack", [name for name, one in PACKS.items() if one.rows])
def test_a_pack_holds_what_was_kept_and_no_other_column(pack, run_dir, tmp_path):
    """As conversations, in input order; instruction and input in one turn."""
    got = exported(run_dir, tmp_path / "out", pack)
    turns = [row["messages"] if "messages" in row else row["prompt"] + row["completion"] for row in got]
    assert [[turn["role"] for turn in one] for one in turns] == [["user", "assistant"]] * 4
    asked = [row["instruction"] + ("\n" + row["input"] if row["input"] else "") for row in kept(run_dir)]
    assert [one[0]["content"] for one in turns] == asked
    assert [one[1]["content"] for one in turns] == [row["output"] for row in kept(run_dir)]
    assert {column for row in got for column in row} <= {"messages", "prompt", "completion"}


def test_preferences_are_what_the_choices_said(whole_dir, tmp_path):
    """The kept response and the one it beat, of the same prompt, with the two scores of the metric that decided."""
    got = exported(whole_dir, tmp_path / "out", "trl-preference")
    with Ledger.reading(whole_dir / "ledger.sqlite") as ledger:
        wanted = []
        for history in ledger.samples.histories():
            last = history.sample.decisions[-1]
            lost = next(name for name in last.candidates if name != last.kept)
            scores = [history.sample.scores[name]["r-ifd"].value for name in (last.kept, lost)]
            wanted.append((history.sample.current.pair.response, history.sample.version(lost).pair.response, *scores))
    found = [
        (row["chosen"][0]["content"], row["rejected"][0]["content"], row["chosen_score"], row["rejected_score"])
        for row in got
    ]
    assert len(wanted) == 30
    assert found == wanted
    assert all(one[2] < one[3] for one in found)
    assert {(row["stage"], row["metric"]) for row in got} == {("choose-lowest", "r-ifd")}
    held = sum(line["decisions"][-1]["kept"] == line["decisions"][-1]["candidates"][0] for line in side(whole_dir))
    assert 0 < held < 30, "both the held version and the rewrite win"


def test_samples_that_were_dropped_give_no_preference(run_dir, tmp_path):
    """Their choices count for nothing: what they held was not kept."""
    got = exported(run_dir, tmp_path / "out", "trl-preference")
    assert {row["chosen"][0]["content"] for row in got} == {row["output"] for row in kept(run_dir)}


def test_what_is_no_preference_is_left_out_and_counted(tmp_path):
    """Another prompt, a choice that read no score, a score that could not win."""
    stages = [*SELECTIVE[:3], {"choose": "newest"}]
    go(job(tmp_path, rows(8), stages), tmp_path / "run")
    done = export_pack(Host(only=[]), tmp_path / "run", tmp_path / "out", "trl-preference")
    assert "0 preference pairs; comparisons left out: 8 not decided by valid scores" in done
    assert done.splitlines()[1] == "the pack has no samples to train on"
    decided = [line["decisions"] for line in side(tmp_path / "run")]
    assert {len(one) for one in decided} == {2}
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == b""

    empty = [{**row, "output": ""} for row in rows(3)]
    (tmp_path / "other").mkdir()
    go(job(tmp_path / "other", empty, [SELECTIVE[2], SELECTIVE[1]]), tmp_path / "other" / "run")
    done = export_pack(Host(only=[]), tmp_path / "other" / "run", tmp_path / "other" / "out", "axolotl-preference")
    assert "0 preference pairs; comparisons left out: 3 not decided by valid scores" in done

    done = export_pack(Host(only=[]), _instructions_only(tmp_path), tmp_path / "third", "llama-factory-preference")
    assert done.startswith(
        f"wrote {tmp_path / 'third'}: 0 preference pairs; comparisons left out: 5 with another prompt"
    )


def _instructions_only(tmp_path: Path) -> Path:
    (tmp_path / "asked").mkdir()
    go(job(tmp_path / "asked", rows(5), SELECTIVE[:2]), tmp_path / "asked" / "run")
    return tmp_path / "asked" / "run"


def test_the_entry_of_llama_factory_names_what_is_there(run_dir, tmp_path):
    """Keys and formatting as its data_info page has them; every tag is one that the rows use."""
    for pack, ranking in (("llama-factory", False), ("llama-factory-preference", True)):
        got = exported(run_dir, tmp_path / pack, pack)
        (entry,) = json.loads((tmp_path / pack / "dataset_info.json").read_text("utf-8")).values()
        assert (tmp_path / pack / entry["file_name"]).is_file()
        assert (entry["formatting"], entry["ranking"]) == ("sharegpt", ranking)
        assert all(column in row for row in got for column in entry["columns"].values())
        roles = {turn[entry["tags"]["role_tag"]] for row in got for turn in row["messages"]}
        assert roles <= {entry["tags"]["user_tag"], entry["tags"]["assistant_tag"], entry["tags"]["system_tag"]}
        assert [len(row["messages"]) % 2 for row in got] == [int(ranking)] * len(got), "it skips others"


def test_the_stanza_of_axolotl_names_what_is_there(run_dir, tmp_path):
    """Fields of the rows, and the chat template of the tokenizer."""
    for pack, kind in (("axolotl", "chat_template"), ("axolotl-preference", "chat_template.default")):
        got = exported(run_dir, tmp_path / pack, pack)
        stanza = yaml.safe_load((tmp_path / pack / "axolotl.yaml").read_text("utf-8"))
        (entry,) = stanza["datasets"]
        assert (tmp_path / pack / entry["path"]).is_file()
        assert (entry["type"], stanza["chat_template"]) == (kind, "tokenizer_default")
        assert stanza.get("rl") == ("dpo" if pack == "axolotl-preference" else None)
        assert all(value in row for row in got for key, value in entry.items() if key.startswith("field_"))


def test_a_system_prompt_and_earlier_turns_are_in_the_prompt(tmp_path):
    """Of the preference pairs too."""
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
    chat += [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Name a boat."}]
    data = [{"messages": [*chat, {"role": "assistant", "content": "The Argo."}]}]
    stages = [SELECTIVE[2], {"choose": {"highest": "length"}}]
    go(job(tmp_path, data, stages, scoring={"preset": "chat"}), tmp_path / "run")
    assert exported(tmp_path / "run", tmp_path / "sft", "trl")[0]["prompt"] == chat
    assert exported(tmp_path / "run", tmp_path / "dpo", "trl-preference")[0]["prompt"] == chat


# --- which turns are trained ------------------------------------------------------------------

ASK, ANSWER, MORE, LAST = (
    {"role": role, "content": text}
    for role, text in (("user", "Hi."), ("assistant", "Hello."), ("user", "A boat?"), ("assistant", "The Argo."))
)
CALL = {"function": {"name": "look", "arguments": '{"at": null}'}, "type": "function"}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}


@pytest.fixture
def pack_of(tmp_path):
    """Writes a pack of conversations by a rule; returns the first line that is printed, the next command, the rows."""

    def write(pack: str, trained: str, *conversations: Any, **more: Any) -> tuple[str, str, list[dict[str, Any]]]:
        data, out = tmp_path / "chats.jsonl", tmp_path / f"{pack}-{trained}"
        data.write_text("".join(json.dumps({"messages": one, **more}) + "\n" for one in conversations), "utf-8")
        source = open_source(Host(only=[]), Data(str(data), trained=trained))
        first, next_ = export_data_pack(Host(only=[]), source, out, pack, overwrite=True).splitlines()
        return first.removeprefix(f"wrote {out}: "), next_, json_lines(out / "train.jsonl")

    return write


@pytest.mark.parametrize(
    ("trained", "conversations", "masked", "count"),
    [
        ("last", [[ASK, ANSWER]], False, "1 sample"),
        ("last", [[ASK, ANSWER], [ASK, ANSWER, MORE, LAST]], True, "2 samples"),
        ("all", [[ASK, ANSWER], [ASK, ANSWER, MORE, LAST]], False, "2 samples"),
        ("marked", [[ASK, ANSWER, MORE, LAST, MORE, {**LAST, "train": False}]], False, None),
        ("marked", [[ASK, ANSWER, MORE, {**LAST, "train": False}, MORE, LAST]], True, "1 sample in 2 rows"),
    ],
)
def test_llama_factory_masks_history_where_a_turn_is_not_trained(trained, conversations, masked, count, pack_of):
    """Else its rows are whole conversations, of which it trains every answer."""
    first, next_, got = pack_of("llama-factory", trained, *conversations)
    assert ("--mask_history true" in next_) is masked
    assert count is None or first == count
    if not masked:
        assert len(got) == len(conversations)


def test_what_a_pack_leaves_out_is_counted(pack_of):
    """Turns behind the last trained answer, samples without a trained turn, and those that a trainer cannot read."""
    untrained = [ASK, {**ANSWER, "train": False}]
    greeting = [ANSWER, MORE, LAST]
    first, _, got = pack_of("trl", "marked", [ASK, ANSWER, MORE], untrained, [ASK, ANSWER, MORE, LAST])
    assert first == (
        "2 samples in 3 rows; samples left out: 1 without a trained turn; "
        "turns after the last trained answer left out of 1 sample"
    )
    assert [row["completion"] for row in got] == [[ANSWER], [ANSWER], [LAST]]
    first, _, got = pack_of("llama-factory", "last", greeting, [ASK, ANSWER])
    assert (first, len(got)) == ("1 sample; samples left out: 1 whose questions and answers do not alternate", 1)
    first, *_ = pack_of("axolotl", "all", greeting, [ASK, ANSWER])
    assert first == "1 sample; samples left out: 1 with a trained turn before any user turn"
    broken = {**CALLING, "tool_calls": [{**CALL, "function": {"name": "look", "arguments": "at: 1"}}]}
    first, *_ = pack_of("axolotl", "last", [ASK, broken], [ASK, CALLING])
    assert first == "1 sample; samples left out: 1 with arguments of a call that are no JSON"
    first, *_ = pack_of("trl", "last", [ASK, CALLING], tools=["look"])
    assert first == "0 samples; samples left out: 1 with tools that are no JSON"


def test_calls_are_what_each_trainer_reads(pack_of):
    """With TRL objects, with axolotl text, since it would remove a null, with LLaMA-Factory turns of their own."""
    result = {"role": "tool", "content": "1", "tool_call_id": "c"}
    chat = [ASK, {**CALLING, "content": "I look."}, result, result, {**ANSWER, "reasoning_content": "One."}]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    _, _, (row,) = pack_of("trl", "last", chat, tools=tools)
    assert row["prompt"][1]["tool_calls"][0]["function"] == {"name": "look", "arguments": {"at": None}}
    assert row["completion"] == [{**ANSWER, "reasoning_content": "One.", "thinking": "One."}]
    assert json.loads(row["tools"]) == tools
    _, _, (row,) = pack_of("axolotl", "last", chat, tools=tools)
    assert row["messages"][1]["tool_calls"] == [CALL]
    assert [message["train"] for message in row["messages"]] == [False, False, False, False, True]
    _, _, (row,) = pack_of("llama-factory", "last", chat, tools=tools)
    assert [list(message.values()) for message in row["messages"]] == [
        ["user", "Hi."],
        ["function_call", 'I look.<tool_call>[{"name": "look", "arguments": {"at": null}}]</tool_call>'],
        ["observation", "1\n</tool_response>\n<tool_response>\n1"],
        ["assistant", "<think>\nOne.\n</think>\n\nHello."],
    ]
    assert json.loads(row["tools"]) == tools


def test_a_run_says_which_turns_its_packs_train(tmp_path):
    """As its scores: the rule is a part of what is frozen."""
    chat = [ASK, ANSWER, MORE, LAST]
    config = job(tmp_path, [{"messages": chat}], [{"measure": ["length"]}], scoring={"preset": "chat"})
    go(evolve(config, data=evolve(config.data, trained="all")), tmp_path / "run")
    got = exported(tmp_path / "run", tmp_path / "out", "trl")
    assert got == [{"prompt": [ASK], "completion": [ANSWER]}, {"prompt": chat[:3], "completion": [LAST]}]


def test_a_rewrite_and_the_answer_with_reasoning_are_a_preference(tmp_path):
    """The reasoning stands with its answer; a pack that cannot hold it leaves the pair out and counts it."""
    chat = [ASK, ANSWER, MORE, {**LAST, "reasoning_content": "A ship of legend."}]
    stages = [SELECTIVE[2], {"choose": {"highest": "length"}}]
    go(job(tmp_path, [{"messages": chat}], stages, scoring={"preset": "chat"}), tmp_path / "run")
    (row,) = exported(tmp_path / "run", tmp_path / "trl", "trl-preference")
    assert row["prompt"] == chat[:3]
    both = [row["chosen"][0], row["rejected"][0]]
    assert [message.get("reasoning_content") for message in both] in ([None, "A ship of legend."], both[::-1])
    done = export_pack(Host(only=[]), tmp_path / "run", tmp_path / "axolotl", "axolotl-preference")
    assert "0 preference pairs; comparisons left out: 1 with tools, reasoning apart or a developer turn" in done


def test_the_folder_says_what_is_trained(pack_of, tmp_path):
    """And which flag and template TRL needs for whole conversations."""
    _, next_, _ = pack_of("trl-messages", "all", [ASK, ANSWER, MORE, LAST])
    assert "--assistant_only_loss true" in next_
    text = (tmp_path / "trl-messages-all" / "README.md").read_text("utf-8")
    assert "{% generation %}" in text and next_.removeprefix("next: ") in text


# --- the folder for the hub -------------------------------------------------------------------


def front(out: Path) -> dict[str, Any]:
    """The card's own fields."""
    return yaml.safe_load((out / "README.md").read_text("utf-8").split("---\n")[1])


def test_the_folder_has_data_controls_scores_and_a_card(run_dir, tmp_path):
    """The controls are as many samples, as they came in; those matched in length are none of the kept ones."""
    out = tmp_path / "hub"
    done = export_hub(Host(only=[]), run_dir, out, "cc-by-4.0")
    assert done.startswith(f"wrote {out}: kept 4, random-control 4, length-control 4\n")
    assert front(out)["license"] == "cc-by-4.0"
    assert front(out)["size_categories"] == ["n<1K"]
    paths = {one["config_name"]: out / one["data_files"][0]["path"] for one in front(out)["configs"]}
    assert json_lines(paths["kept"]) == kept(run_dir)
    topics = {row["topic"] for row in kept(run_dir)}
    matched = json_lines(paths["length-control"])
    assert len(matched) == 4 and not {row["topic"] for row in matched} & topics
    assert all(row in rows(12) for row in (*matched, *json_lines(paths["random-control"])))
    assert json_lines(out / "scores.jsonl") == side(run_dir)
    text = (out / "README.md").read_text("utf-8")
    manifest = json.loads((run_dir / "manifest.json").read_text("utf-8"))
    for part in ("held:teacher", manifest["frozen"]["data"]["content"], "fake-student-1", "The terms of its provider"):
        assert part.replace(":", '": "') in text or part in text
    assert "| dropped | 8 |" in text
    assert str(run_dir.parent) not in text, "no folder of this machine"


def test_where_nothing_was_dropped_there_are_no_controls(whole_dir, tmp_path):
    """The card says so."""
    export_hub(Host(only=[]), whole_dir, tmp_path / "hub", "other")
    assert [one["config_name"] for one in front(tmp_path / "hub")["configs"]] == ["kept"]
    assert "no controls of the selection" in (tmp_path / "hub" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("given", [None, "Apache 2", "mit\nlicense: x"])
def test_a_licence_is_asked_for(given, run_dir, tmp_path):
    """It is the user's word, so there is no default; nothing is written without."""
    with pytest.raises(ConfigError, match="--license"):
        export_hub(Host(only=[]), run_dir, tmp_path / "hub", given)
    assert not (tmp_path / "hub").exists()


# --- the command ------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote_and_what_comes_next(cli, tmp_path):
    """And refuses in one line what does not go together, an unknown pack, and a folder that is there."""
    cli("run", "rt.yaml")
    done = cli("export", "runs/rt", "--pack", "trl", "--out", "packs/a pack")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1].startswith("next: trl sft --model_name_or_path MODEL --dataset_name 'packs/a pack'")
    assert (tmp_path / "packs/a pack/README.md").is_file()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for words, part in (
        (["--pack", "trl", "--out", "mine"], "mine: is a folder that rt did not write; name another place with --out"),
        (["--pack", "tlr", "--out", "new"], "unknown pack 'tlr'. Did you mean 'trl'?"),
        (["--pack", "trl", "--hub-folder", "--out", "new"], "call rt export once for each"),
        (["--pack", "trl", "--shape", "alpaca", "--out", "new"], "cannot be used with --pack"),
        (["--license", "mit", "--out", "new"], "--license can only be used with --hub-folder"),
        (["--hub-folder", "--out", "new"], "--hub-folder needs --license ID"),
    ):
        done = cli("export", "runs/rt", *words)
        assert done.code == 2
        assert part in done.err
    assert (mine / "notes.txt").read_text() == "mine" and not (tmp_path / "new").exists()


def test_a_pack_of_any_data_file(cli, tmp_path):
    """All its samples, in the rows that a run's have; its other columns would stop a trainer."""
    cli("run", "rt.yaml")
    done = cli("export", "runs/rt/kept.json", "--pack", "trl", "--out", "of-file")
    assert (done.code, done.err) == (0, "")
    assert cli("export", "runs/rt", "--pack", "trl", "--out", "of-run").code == 0
    written, of_run = ((tmp_path / name / "train.jsonl").read_text() for name in ("of-file", "of-run"))
    assert written == of_run
    assert done.out.splitlines()[0] == f"wrote of-file: {written.count(chr(10))} samples"
    (tmp_path / "odd.jsonl").write_text('{"instruction": "Name a gas.", "answer": "Helium."}\n')
    assert cli("export", "odd.jsonl", "--pack", "trl", "--column", "output=answer", "--out", "odd").code == 0
    assert "Helium." in (tmp_path / "odd" / "train.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["runs/rt/kept.json", "--pack", "trl-preference"], "pack 'trl-preference' holds the preferences of a run"),
        (["runs/no", "--pack", "trl"], "runs/no"),
        (["runs/rt", "--pack", "trl", "--column", "output=x"], "is a run directory, which says itself how its data"),
        (
            ["runs/rt", "--column", "output=x"],
            "--column, --trained, --unroll and --unreadable can only be used",
        ),
    ],
)
def test_what_is_no_data_file_and_no_run_is_one_line(words, part, cli, tmp_path):
    """Nothing is written."""
    cli("run", "rt.yaml")
    done = cli("export", *words, "--out", "new")
    assert done.code in (2, 5) and part in done.err and done.err.count("\n") <= 4
    assert not (tmp_path / "new").exists()
