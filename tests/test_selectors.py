"""The built-in selectors: ties, gates and eligibility; sizes, stability and controls."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rt_framework.builtin.selectors.dataset import LengthMatched, Random, Threshold, Top
from rt_framework.builtin.selectors.settings import (
    BestSettings,
    LengthMatchedSettings,
    RandomSettings,
    ThresholdSettings,
    TopSettings,
)
from rt_framework.builtin.selectors.versions import Highest, Lowest, Newest
from rt_framework.errors import ConfigError
from rt_framework.model import ORIGINAL, Pair, Range, Score, Scored, Version

EMPTY = Score(None, "empty", "the response is empty")
OUT = Score(1.25, "out_of_range", "not < 1")


def score(value):
    """A score from a number, or the one given."""
    return value if isinstance(value, Score) else Score(value)


def candidate(name, **scores):
    """A version of one sample."""
    return Scored("s", 0, Version(name, Pair("q", response="a")), {k: score(v) for k, v in scores.items()})


def versions(*values):
    """Versions ``original``, ``b``, ``c``, … with these values of ``ifd``."""
    return [candidate(name, ifd=value) for name, value in zip((ORIGINAL, "b", "c", "d"), values, strict=False)]


def rows(values, lengths=None):
    """A data set with these values of ``ifd``."""
    return [
        Scored(
            f"id{i}", i, Version(ORIGINAL, Pair("q", response="x" * (lengths[i] if lengths else 5))), {"ifd": score(v)}
        )
        for i, v in enumerate(values)
    ]


def kept(selector, data):
    """Ids of the samples selected; every row must get a verdict with a reason."""
    verdicts = selector.select(data)
    assert len(verdicts) == len(data)
    assert all(verdict.reason for verdict in verdicts)
    return [row.sample_id for row, verdict in zip(data, verdicts, strict=True) if verdict.keep]


def top(**options):
    """The ``top`` selector by ``ifd``."""
    return Top(TopSettings("ifd", **options))


def matched(**options):
    """The ``length-matched`` selector by ``ifd``."""
    return LengthMatched(LengthMatchedSettings("ifd", **options))


highest = Highest(BestSettings("ifd"))
lowest = Lowest(BestSettings("ifd"))


# --- versions of one sample -------------------------------------------------------------------


def test_the_better_version_wins_and_the_reason_has_both_numbers():
    """A user reads this reason in the decision about a sample."""
    assert highest.choose(versions(0.733, 0.812)).reason == "ifd 0.812 > 0.733 of original"
    assert highest.choose(versions(0.733, 0.812)).kept == "b"
    assert lowest.choose(versions(0.733, 0.412)).reason == "ifd 0.412 < 0.733 of original"
    assert lowest.choose(versions(0.733, 0.412)).kept == "b"


def test_a_worse_version_loses():
    """In both directions."""
    choice = highest.choose(versions(0.8, 0.7))
    assert (choice.kept, choice.reason) == (ORIGINAL, "ifd 0.800 of original, none higher: b: 0.700")
    assert lowest.choose(versions(0.7, 0.8)).kept == ORIGINAL


@pytest.mark.parametrize("selector", [highest, lowest])
def test_a_tie_keeps_the_held_version(selector):
    """A rewrite has to be strictly better."""
    assert selector.choose(versions(0.5, 0.5)).kept == ORIGINAL


@pytest.mark.parametrize(("selector", "values"), [(highest, (0.1, 0.3, 0.9, 0.9)), (lowest, (0.9, 0.3, 0.1, 0.1))])
def test_of_several_the_best_wins_and_of_equal_ones_the_first(selector, values):
    """The order of the candidates decides between equal ones."""
    assert selector.choose(versions(*values)).kept == "c"


@pytest.mark.parametrize("selector", [highest, lowest])
@pytest.mark.parametrize("bad", [EMPTY, OUT, Score(None, "no_room", "the prompt is too long")])
def test_an_ineligible_rewrite_never_wins(selector, bad):
    """A failure is no 0 and no 1, and a number out of range is no winner."""
    assert selector.choose(versions(0.5, bad)).kept == ORIGINAL


@pytest.mark.parametrize("selector", [highest, lowest])
@pytest.mark.parametrize("bad", [EMPTY, OUT])
def test_an_eligible_rewrite_beats_an_ineligible_original(selector, bad):
    """The value of the rewrite does not matter."""
    choice = selector.choose(versions(bad, 0.5))
    assert choice.kept == "b"
    assert "original cannot win" in choice.reason


def test_without_any_eligible_version_the_held_one_is_kept():
    """The reason says why for each."""
    choice = highest.choose(versions(EMPTY, OUT))
    assert choice.kept == ORIGINAL
    assert "original: no ifd: the response is empty" in choice.reason
    assert "b: ifd 1.250 cannot win: not < 1" in choice.reason


def test_a_gate_stops_the_best_version():
    """The next best that passes wins, and the reason of a loss names the gate."""
    gated = Highest(BestSettings("r", {"ifd": Range(below=1)}))
    assert gated.needs == ("r", "ifd")
    held, wild, tame = (
        candidate(ORIGINAL, r=0.1, ifd=0.5),
        candidate("b", r=0.9, ifd=1.0),
        candidate("c", r=0.2, ifd=0.9),
    )
    assert gated.choose([held, wild, tame]).kept == "c"
    choice = gated.choose([held, wild])
    assert choice.kept == ORIGINAL
    assert "b: ifd 1 is not < 1" in choice.reason


def test_a_gate_is_not_passed_without_a_score():
    """Neither by a version without a number nor by one out of range."""
    gated = Lowest(BestSettings("r", {"ifd": Range(above=0)}))
    for bad in (EMPTY, OUT):
        assert gated.choose([candidate(ORIGINAL, r=0.5, ifd=0.5), candidate("b", r=0.1, ifd=bad)]).kept == ORIGINAL


def test_a_gate_on_the_deciding_metric_is_needed_once():
    """No metric is asked for twice."""
    assert Highest(BestSettings("ifd", {"ifd": Range(below=1)})).needs == ("ifd",)


def test_a_win_by_a_hair_is_shown():
    """Numbers that look equal with three digits are shown in full."""
    assert highest.choose(versions(0.81201, 0.81202)).reason == "ifd 0.81202 > 0.81201 of original"


def test_newest_keeps_the_last_version_and_needs_no_metric():
    """Reflection without selection."""
    newest = Newest()
    assert newest.needs == ()
    assert newest.choose([candidate(ORIGINAL), candidate("b"), candidate("c")]).kept == "c"


VALUES = st.one_of(st.floats(0, 1), st.sampled_from([0.25, 0.5]), st.sampled_from([EMPTY, OUT]))


@given(st.lists(VALUES, min_size=2, max_size=4))
def test_the_winner_is_eligible_and_strictly_best(values):
    """Over all mixtures of scores."""
    data = versions(*values)
    won = highest.choose(data).kept
    able = {row.version.name: row.scores["ifd"].value for row in data if row.scores["ifd"].eligible}
    if not able:
        assert won == ORIGINAL
    else:
        assert able[won] == max(able.values())
        assert won == next(name for name, value in able.items() if value == able[won])


# --- top --------------------------------------------------------------------------------------


def test_top_selects_the_best_and_says_the_rank():
    """Both orders; every verdict has the sample's own rank."""
    data = rows([0.2, 0.9, 0.5, 0.7])
    assert kept(top(count=2), data) == ["id1", "id3"]
    assert kept(top(count=2, order="lower"), data) == ["id0", "id2"]
    verdicts = top(count=2).select(data)
    assert verdicts[3].reason == "rank 2 of 4 by ifd (0.700)"
    assert verdicts[2].reason == "rank 3 of 4 by ifd (0.500); the first 2 are selected"


def test_top_breaks_ties_by_row():
    """Not by the order in which rows happen to arrive."""
    data = rows([0.5, 0.5, 0.5, 0.5])
    assert kept(top(count=2), data) == ["id0", "id1"]
    assert sorted(kept(top(count=2), data[::-1])) == ["id0", "id1"]


@pytest.mark.parametrize(
    ("fraction", "total", "expected"),
    [(0.05, 3, 1), (0.5, 5, 3), (0.07, 100, 7), (0.1, 30, 3), (1.0, 4, 4), (0.29, 100, 29)],
)
def test_a_share_is_rounded_up_as_written(fraction, total, expected):
    """A share that rounds to 0 selects one sample, not all; float noise adds none."""
    assert len(kept(top(fraction=fraction), rows([i / total for i in range(total)]))) == expected
    assert len(kept(Random(RandomSettings(fraction=fraction)), rows([0.5] * total))) == expected


@given(st.integers(2, 60), st.floats(1e-9, 0.5))
def test_a_share_is_never_everything_nor_nothing(total, fraction):
    """At most half of the samples gives at most half, rounded up."""
    size = len(kept(top(fraction=fraction), rows([0.5] * total)))
    assert 1 <= size <= (total + 1) // 2 < total


def test_unscored_samples_are_never_selected():
    """Even when there are too few other samples; the reason says what is missing."""
    data = rows([0.5, EMPTY, OUT, 0.4])
    assert kept(top(count=4), data) == ["id0", "id3"]
    assert top(count=4).select(data)[1].reason == "no ifd: the response is empty"
    assert kept(top(fraction=0.5), rows([EMPTY, OUT])) == []
    assert kept(top(fraction=0.5), []) == []


def test_a_share_may_be_of_the_valid_or_of_all_samples():
    """Published lists count either way."""
    data = rows([0.5, 0.4, 0.3, 0.2, EMPTY, EMPTY, OUT, OUT])
    assert len(kept(top(fraction=0.5, of="valid"), data)) == 2
    assert len(kept(top(fraction=0.5, of="all"), data)) == 4


@pytest.mark.parametrize(
    "options", [{}, {"fraction": 0.5, "count": 1}, {"fraction": 0.0}, {"fraction": 1.1}, {"count": 0}, {"fraction": -1}]
)
def test_a_size_that_makes_no_sense_is_a_config_error(options):
    """Before any sample is read."""
    for build in (top, matched, lambda **o: Random(RandomSettings(**o))):
        with pytest.raises(ConfigError):
            build(**options)


# --- threshold --------------------------------------------------------------------------------


def test_threshold_selects_within_the_bounds():
    """Bounds are exact, and samples without a valid score stay out."""
    data = rows([0.2, 0.5, 0.8, EMPTY, OUT])
    assert kept(Threshold(ThresholdSettings("ifd", at_least=0.5)), data) == ["id1", "id2"]
    assert kept(Threshold(ThresholdSettings("ifd", above=0.2, below=0.8)), data) == ["id1"]
    assert kept(Threshold(ThresholdSettings("ifd", at_most=0.2)), data) == ["id0"]
    reasons = [v.reason for v in Threshold(ThresholdSettings("ifd", below=0.5)).select(data)]
    assert reasons[:2] == ["ifd 0.200 is < 0.5", "ifd 0.500 is not < 0.5"]
    with pytest.raises(ConfigError):
        Threshold(ThresholdSettings("ifd"))


# --- random -----------------------------------------------------------------------------------


def test_random_depends_on_the_seed_only():
    """The same draw every time, another with another seed, and about as many as asked for from anywhere."""
    data = rows([0.5] * 200)
    draws = [kept(Random(RandomSettings(count=50, seed=seed)), data) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert all(len(draw) == 50 for draw in draws)
    assert 60 < fmean(int(name[2:]) for name in draws[0]) < 140


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 40))
def test_an_inserted_row_moves_no_other(total, count, place):
    """At most the newcomer replaces one; positions play no part."""
    data = rows([0.5] * total)
    newcomer = Scored("new", total, data[0].version, {})
    place = min(place, total)
    before = set(kept(Random(RandomSettings(count=count)), data))
    after = set(kept(Random(RandomSettings(count=count)), [*data[:place], newcomer, *data[place:]]))
    assert after - before <= {"new", *(r.sample_id for r in data if count > total)}
    assert len(before - after) <= 1


# --- length-matched ---------------------------------------------------------------------------


def lengthy(total, seed=0):
    """A data set in which the score grows with the length, as IFD does."""
    draw = random.Random(seed)
    lengths = [draw.randint(5, 500) for _ in range(total)]
    return rows([min(0.99, 0.3 + length / 1000 + draw.random() / 2) for length in lengths], lengths)


def mean_length(data, ids):
    """Mean response length of some samples."""
    return fmean(len(row.version.pair.response) for row in data if row.sample_id in ids)


def test_length_matched_is_as_long_as_top_and_shares_no_sample_with_it():
    """The control has top's lengths, where a random subset has not."""
    data = lengthy(2000)
    best = kept(top(fraction=0.1), data)
    control = kept(matched(fraction=0.1), data)
    assert len(control) == len(best) == 200
    assert not set(control) & set(best)
    assert mean_length(data, control) == pytest.approx(mean_length(data, best), rel=0.03)
    by_chance = kept(Random(RandomSettings(fraction=0.1)), data)
    assert mean_length(data, by_chance) < 0.8 * mean_length(data, best)


def test_length_matched_takes_the_nearest_and_names_its_match():
    """One for each of top's samples, none twice."""
    data = rows([0.9, 0.8, 0.1, 0.2, 0.3, 0.4], [100, 10, 12, 95, 50, 200])
    verdicts = matched(count=2).select(data)
    assert [v.keep for v in verdicts] == [False, False, True, True, False, False]
    assert verdicts[3].reason == "95 characters, matched to the 100 of rank 1 by ifd"
    assert verdicts[0].reason == "among the top 2 by ifd"


def test_length_matched_says_when_too_few_others_are_left():
    """Then the rest comes from top's own samples."""
    data = rows([0.9, 0.8, 0.7, 0.1], [10, 20, 30, 10])
    verdicts = matched(count=3).select(data)
    assert sum(v.keep for v in verdicts) == 3
    assert verdicts[3].keep
    assert sum("too few other samples" in v.reason for v in verdicts if v.keep) == 2


def test_length_matched_breaks_ties_by_seed_and_skips_unscored_samples():
    """Equal lengths are drawn by hash, not by position."""
    data = rows([0.9] + [0.1] * 30 + [EMPTY], [50] * 32)
    picks = {tuple(kept(matched(count=1, seed=seed), data)) for seed in range(20)}
    assert len(picks) > 3
    assert ("id0",) not in picks
    assert ("id31",) not in picks


@given(st.lists(st.tuples(VALUES, st.integers(0, 30)), max_size=40), st.floats(0.01, 1))
def test_length_matched_selects_as_many_as_top(data, fraction):
    """Always, so that the two subsets can be compared."""
    data = rows([value for value, _ in data], [size for _, size in data])
    assert len(kept(matched(fraction=fraction), data)) == len(kept(top(fraction=fraction), data))
