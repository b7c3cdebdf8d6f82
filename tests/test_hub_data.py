"""Data sets of the Hugging Face hub, against a stand-in of its HTTP interface: the real hub is not asked."""

import gzip
import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from rt_framework.config import Data
from rt_framework.data import open_source
from rt_framework.errors import ConfigError, DataError, DiskError
from rt_framework.plugin import Host
from rt_framework.results import open_run
from tests.helpers import CONFIG, Cli, json_lines, rows, rt
from tests.hub_server import Hub, serving

PATH = "hf://datasets/org/data"
TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"


def parquet(data):
    """The bytes of a Parquet file."""
    pq.write_table(pa.Table.from_pylist(data), sink := io.BytesIO())
    return sink.getvalue()


def jsonl(data):
    """The bytes of a JSON lines file."""
    return "".join(json.dumps(row) + "\n" for row in data).encode()


def card(*configs):
    """A README whose header names configurations and their files."""
    return f"---\nconfigs: {json.dumps(configs)}\n---\n# Data\n".encode()


def sharded(count=6):
    """A repository as push_to_hub leaves it, with a split in two files."""
    names = [f"data/train-0000{number}-of-00002.parquet" for number in range(2)]
    files = {"README.md": card({"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]})}
    half = count // 2
    return files | {names[0]: parquet(rows(count)[:half]), names[1]: parquet(rows(count)[half:])}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one data set, an empty cache, and a token."""
    with serving(Hub()) as served:
        served.commit(sharded())
        address = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield served


def source(limit=None, **more):
    return open_source(Host(only=[]), Data(PATH, **more), limit)


def refusal(**more):
    """The one line that reading the data set ends with."""
    with pytest.raises(DataError) as caught:
        source(**more).read_through(lambda _: None)
    line = str(caught.value)
    assert "\n" not in line
    assert TOKEN not in line
    assert line.startswith(PATH)
    return line.removeprefix(PATH)


# --- what is read -----------------------------------------------------------------------------


def test_a_data_set_of_the_hub_is_read_as_often_as_needed(hub):
    """Each file is downloaded once; the rows are numbered through, and the commit is a fact."""
    commit = hub.branches["main"]
    found = source()
    assert str(found) == f"{PATH}@{commit[:10]}, split train: parquet, alpaca columns"
    assert found.facts()["revision"] == commit
    for _ in range(3):
        assert [record.extra["topic"] for _, record in found] == [row["topic"] for row in rows(6)]
    assert [sample.row for sample in found.samples()] == list(range(6))
    known, _ = found.read_through(lambda _: None)
    assert known.count() == 6
    known.check_unchanged()
    assert hub.downloads() == ["README.md", *[name for name in sharded() if name.endswith("parquet")]]
    before = len(hub.downloads())
    assert list(source()) == list(found)
    assert len(hub.downloads()) == before, "the cache serves the next run"
    assert found.size() == sum(len(content) for name, content in sharded().items() if name.endswith("parquet"))


def test_only_the_files_that_are_needed_are_downloaded(hub):
    """A limit ends the reading, and the content is known from the hub's list: it does not depend on the limit."""
    known, _ = source(limit=2).read_through(lambda _: None)
    assert len(list(known)) == 2
    assert [name for name in hub.downloads() if name.endswith("parquet")] == ["data/train-00000-of-00002.parquet"]
    assert known.facts()["content"] == source().read_through(lambda _: None)[0].facts()["content"]


def test_a_revision_is_a_branch_or_a_commit(hub):
    """Without one it is the main branch, as it is now."""
    first = hub.branches["main"]
    hub.commit(sharded(8))
    hub.commit(sharded(4), branch="small")
    assert source().count() == 8
    assert source(revision=first).count() == 6
    assert source(revision="small").count() == 4
    assert refusal(revision="nosuch") == ": has no branch, tag or commit 'nosuch'; correct data.revision"


LAYOUTS = {
    "no description": ({"train.jsonl": rows(3), "test.jsonl": rows(2)}, {"split": "test"}, 2),
    "one file, one split": ({"alpaca.jsonl": rows(3)}, {}, 3),
    "folders": ({"train/a.jsonl": rows(2), "train/b.jsonl": rows(3), "test/a.jsonl": rows(1)}, {"split": "train"}, 5),
    "hidden and other files": ({"a.jsonl": rows(2), ".hidden/b.jsonl": rows(1), "LICENSE": "x"}, {}, 2),
    "packed": ({"data.jsonl.gz": gzip.compress(jsonl(rows(3)))}, {}, 3),
    "an array": ({"data.json": json.dumps(rows(3))}, {}, 3),
    "csv": ({"data.csv": "instruction,output\na,b\n"}, {}, 1),
    "a default configuration": (
        {
            "README.md": card(
                {"config_name": "small", "data_files": "small/*"},
                {"config_name": "large", "data_files": "large/*", "default": True},
            ),
            "small/a.jsonl": rows(1),
            "large/a.jsonl": rows(4),
        },
        {},
        4,
    ),
    "a named configuration": (
        {
            "README.md": card(
                {"config_name": "small", "data_files": "small/*"}, {"config_name": "large", "data_files": "large/*"}
            ),
            "small/a.jsonl": rows(1),
            "large/a.jsonl": rows(4),
        },
        {"config": "small"},
        1,
    ),
    "two files for a split": (
        {
            "README.md": card({"config_name": "default", "data_files": [{"split": "all", "path": ["b/*", "a.jsonl"]}]}),
            "a.jsonl": rows(1),
            "b/1.jsonl": rows(4),
        },
        {},
        5,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_configurations_and_splits_are_those_of_the_library(hub, layout):
    """Splits come from the description in the repository or, if it has none, from the names of its files."""
    files, chosen, count = LAYOUTS[layout]
    hub.commit({name: as_bytes(content) for name, content in files.items()})
    assert source(**chosen).count() == count


def as_bytes(content):
    """The content of a file: bytes, a text, or rows."""
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else jsonl(content)


TWO = {
    "README.md": card(
        {"config_name": "small", "data_files": "small/*"}, {"config_name": "large", "data_files": "large/*"}
    ),
    "small/a.jsonl": jsonl(rows(1)),
    "large/a.jsonl": jsonl(rows(4)),
}
REFUSED = {
    "no such split": (sharded(), {"split": "test"}, ": has no split 'test'; known: train"),
    "no such configuration": (sharded(), {"config": "big"}, ": has no config 'big'; known: default"),
    "several configurations": (TWO, {}, ": has several: small, large; choose one with data.config"),
    "no such one of several": (TWO, {"config": "huge"}, ": has no config 'huge'; known: small, large"),
    "several splits": (
        {"train.jsonl": jsonl(rows(1)), "test.jsonl": jsonl(rows(1))},
        {},
        ": has several: train, test; choose one with data.split",
    ),
    "nothing to read": ({"LICENSE": b"x"}, {}, ": no data files can be found"),
    "nothing at all": ({}, {}, ": has 0 files"),
    "a script": ({"data.py": b"x", "a.jsonl": jsonl(rows(1))}, {}, ": is made by a script of its own"),
    "a description that is no YAML": (
        {"README.md": b"---\n{: [\n---\n", "a.jsonl": b"{}"},
        {},
        ": no data files can be",
    ),
    "files that no format reads": ({"a.txt": b"x"}, {}, "@"),
    "files of two formats": (
        {"README.md": card({"config_name": "d", "data_files": "*.*l*"}), "a.jsonl": jsonl(rows(1)), "b.xml": b"<a/>"},
        {},
        ": split train has files of different formats, a.jsonl and b.xml; download those to read",
    ),
    "a special way to read": (
        {
            "README.md": card({"config_name": "d", "data_files": "a.csv", "sep": ";"}),
            "a.csv": b"instruction;output\na;b\n",
        },
        {},
        ": configuration d is read with sep: ';', which rt does not know",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_data_set_that_cannot_be_read_as_it_is_meant_is_refused(hub, case):
    """In one line with the choices or the reason."""
    files, chosen, message = REFUSED[case]
    hub.commit(files)
    assert refusal(**chosen).startswith(message)


def test_a_repository_cannot_name_files_of_this_machine(hub, tmp_path):
    """Its description could name any path or address; rows of other files must not be sent to a teacher."""
    (tmp_path / "private.jsonl").write_bytes(jsonl(rows(1)))
    for place in (str(tmp_path / "private.jsonl"), "../../private.jsonl"):
        hub.commit({"README.md": card({"config_name": "d", "data_files": place}), "a.jsonl": jsonl(rows(1))})
        assert "private" in refusal() or "no data files" in refusal()
    hub.commit({"../../outside.jsonl": jsonl(rows(1))})
    assert "lists a file outside the repository: ../../outside.jsonl" in refusal()


@pytest.mark.parametrize(
    "path",
    ["hf://org/data", "hf://datasets/org/data@main", "hf://datasets/a/b/c.parquet", "hf://datasets/", "hf://x y"],
)
def test_a_path_of_another_form_is_refused_with_the_right_one(path):
    """Before the hub is asked."""
    with pytest.raises(ConfigError, match=r"is not of the form hf://datasets/ORG/NAME; a branch, tag or commit goes"):
        open_source(Host(only=[]), Data(path))


@pytest.mark.parametrize("key", ["revision", "config", "split"])
def test_the_keys_are_for_the_hub_alone(key):
    """A key without an effect is an error."""
    with pytest.raises(ConfigError, match=rf"data.{key} is for data sets of the hub, and 'data.json' is none; take it"):
        Data("data.json", **{key: "x"})


def test_without_the_extra_there_is_one_line_with_the_command(hub, monkeypatch):
    """Before the hub is asked."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError) as caught:
        source()
    assert str(caught.value) == f"'{PATH}' needs datasets: pip install 'rt-framework[hub]'"
    assert hub.asked == []


# --- faults -----------------------------------------------------------------------------------

ANSWERS = [
    (401, "GatedRepo", ": the hub gives it only to accounts with access (status 401); ask for access on its page"),
    (403, "GatedRepo", ": the hub gives it only to accounts with access (status 403); ask for access on its page"),
    (403, None, ": the hub gives it only to accounts with access (status 403)"),
    (
        401,
        "RepoNotFound",
        ": no such data set on the hub (status 401), or a private one: correct the name, or set HF_TOK",
    ),
    (404, "RepoNotFound", ": no such data set on the hub (status 404), or a private one"),
    (429, None, ": the hub asks to slow down (status 429); try again later, or set HF_TOKEN"),
    (500, None, ": the hub answered with status 500; try again later"),
    (503, None, ": the hub answered with status 503; try again later"),
]


@pytest.mark.parametrize(("status", "code", "message"), ANSWERS)
def test_a_refusal_of_the_hub_is_one_line_with_the_way_out(hub, status, code, message):
    """At its first answer."""
    hub.refusal = (status, code)
    line = refusal()
    assert line.startswith(message)
    assert status not in (401, 403, 429) or "HF_TOKEN" in line


@pytest.mark.parametrize(("status", "code", "message"), ANSWERS)
def test_a_refusal_between_two_files_is_one_line_too(hub, status, code, message):
    """The list was given, and a file is not; what was downloaded stays for the next time."""
    found = source()
    hub.refusal = (status, code)
    with pytest.raises(DataError) as caught:
        list(found)
    assert message.split(";")[0] in str(caught.value)
    hub.refusal = None
    assert found.count() == 6


def test_an_answer_of_something_else_is_said_to_be_none_of_a_hub(hub, monkeypatch):
    """Such as a page of a proxy."""
    monkeypatch.setattr("tests.hub_server._Handler._listing", lambda self, _: self._send(200, {}, b"<html>"))
    assert "the answer of the hub cannot be read (JSONDecodeError); is HF_ENDPOINT the address of a hub?" in refusal()
    monkeypatch.setattr("tests.hub_server._Handler._listing", lambda self, _: self._send(200, {}, b'{"id": "a"}'))
    assert "has 0 files" in refusal()


def test_a_hub_that_cannot_be_reached_is_one_line_with_another_way(hub, monkeypatch):
    """Offline, or with nobody at the address."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the hub cannot be reached (OfflineModeIsEnabled)" in refusal()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the hub cannot be reached (ConnectError)" in refusal()
    assert "hf download NAME --repo-type dataset" in refusal()


def test_a_token_is_not_sent_to_another_host(hub):
    """Large files are on another host, to which the hub redirects; only the hub gets the token."""
    assert source().count() == 6
    elsewhere = [ask for ask in hub.asked if ask.host != "127.0.0.1"]
    assert len(elsewhere) == 2
    assert {ask.token for ask in elsewhere} == {None}
    assert {ask.token for ask in hub.asked if ask.host == "127.0.0.1"} == {f"Bearer {TOKEN}"}


def test_a_token_is_not_sent_to_where_the_hub_has_moved(hub):
    """A redirect of the list itself is followed without the token."""
    hub.moved = True
    source().count()
    assert {ask.token for ask in hub.asked if ask.host == "localhost"} == {None}
    assert next(ask.path for ask in hub.asked if ask.host == "localhost").startswith("/api/datasets/org/data")


@pytest.mark.parametrize("large", [(".parquet",), ()])
def test_a_file_that_arrives_cut_off_is_not_read(hub, large):
    """Although the answer says that it is complete; the next try gets the whole file."""
    hub.large, hub.cut, hub.length_is_cut = large, 100, True
    line = refusal()
    assert "incomplete" in line or "arrived twice with another content" in line
    hub.cut = None
    assert source().count() == 6


@pytest.mark.parametrize("large", [(".parquet",), ()])
def test_another_content_of_the_same_size_is_not_read(hub, large):
    """The hub lists a hash for each file: of its content, or git's."""
    files, name = hub.commits[hub.branches["main"]], "data/train-00001-of-00002.parquet"
    good, hub.large = files[name], large
    found = source()
    files[name] = bytes(reversed(good))
    with pytest.raises(DataError, match=rf"{name} arrived twice with another content than the hub lists for it; try"):
        found.count()
    files[name] = good
    assert found.count() == 6, "the wrong copy in the cache is not taken again"


def test_a_damaged_file_in_the_cache_is_downloaded_again(hub):
    """A copy that was cut off by a full disk, say."""
    found = source()
    assert found.count() == 6
    file = found.inputs[1]
    file.resolve().write_bytes(b"x" * file.stat().st_size)
    assert source().count() == 6


def test_a_change_in_the_cache_during_a_run_is_noticed(hub):
    """Before anything is written from it."""
    known, _ = source().read_through(lambda _: None)
    file = known.inputs[0].resolve()
    content = file.read_bytes()
    file.write_bytes(content)
    known.check_unchanged()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match=rf"^{PATH}@.*: changed while it was in use"):
        known.check_unchanged()
    file.unlink()
    with pytest.raises(DataError, match="changed while it was in use"):
        known.check_unchanged()


def test_a_cache_that_cannot_be_written_is_a_disk_error(hub, monkeypatch):
    """With its exit code."""
    import errno

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.HfApi.hf_hub_download", full)
    with pytest.raises(DiskError, match=r"the hub's cache \(HF_HOME\) cannot be written: No space left"):
        source()


def test_files_with_other_columns_name_both(hub):
    """By their names in the repository."""
    files = sharded() | {"data/train-00001-of-00002.parquet": parquet([{**rows(1)[0], "output": 1}])}
    hub.commit(files)
    line = refusal()
    assert "column 'output' is string in data/train-00000-of-00002.parquet and int64 in data/train-00001-of" in line


# --- runs -------------------------------------------------------------------------------------

HUB_CONFIG = CONFIG.replace("path: data.json", f"path: {PATH}")


def test_a_run_stays_with_its_commit(hub, tmp_path, monkeypatch, capfd):
    """A branch that has moved is refused with the difference, and the way out works: nothing is asked again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_TEST_LOG", str(tmp_path / "log"))
    (tmp_path / "rt.yaml").write_text(HUB_CONFIG)
    cli = Cli(monkeypatch, capfd)
    done = cli("run", "rt.yaml", "--run-dir", "run")
    assert done.code == 0, done.err
    before = (tmp_path / "run" / "kept.parquet").read_bytes()
    calls = (tmp_path / "log").read_text().count("call")
    old = hub.branches["main"]
    new = hub.commit(sharded(8))
    done = cli("run", "rt.yaml", "--run-dir", "run")
    assert done.code == 2
    assert f"data.revision: {old} → {new}" in done.error()
    with open_run(tmp_path / "run") as run:
        assert run.facts["data"]["revision"] == old
        assert len(list(run.records())) == 6, "the finished run reads its own commit"
    assert cli("run", "rt.yaml", "--run-dir", "run", "--set", f"data.revision={old}").code == 0
    assert (tmp_path / "run" / "kept.parquet").read_bytes() == before
    assert (tmp_path / "log").read_text().count("call") == calls
    assert cli("export", "run", "--out", "kept.jsonl").code == 0
    assert len(json_lines(tmp_path / "kept.jsonl")) == 6


def test_the_options_of_commands_that_read_data(hub, tmp_path, monkeypatch, capfd):
    """The same keys as in a config."""
    monkeypatch.chdir(tmp_path)
    hub.commit(TWO, branch="two")
    cli = Cli(monkeypatch, capfd)
    options = ["--revision", "two", "--config", "large", "--split", "train"]
    done = cli("score", PATH, *options, "--student", "fake", "--out", "scores.jsonl")
    assert done.code == 0, done.err
    assert len(json_lines(tmp_path / "scores.jsonl")) == 4
    assert cli("score", "data.json", *options, "--student", "fake", "--out", "x.jsonl").code == 2
    assert cli("doctor", PATH, *options).out.count("4 samples") == 1
    done = cli("reflect", PATH, *options, "--teacher", "scripted", "--out", "better.jsonl")
    assert done.code == 0, done.err
    assert len(json_lines(tmp_path / "better.jsonl")) == 4


def test_the_installed_program_finds_the_hub_by_its_environment(hub, tmp_path):
    """HF_ENDPOINT and HF_HOME are the hub's own names for these."""
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    done = rt("-p", "tests.helpers", "score", PATH, "--student", "fake", "--out", "s.jsonl", cwd=tmp_path, env=env)
    assert done.code == 0, done.err
    assert len(json_lines(tmp_path / "s.jsonl")) == 6
    assert any((tmp_path / "home" / "hub").glob("datasets--org--data/snapshots/*/data/*.parquet"))
