"""The control for choices: versions drawn at random, at a rate or as often as a run took them."""

from __future__ import annotations

from collections import Counter

import pytest

from rt_framework.builtin.selectors.control import RandomVersion
from rt_framework.builtin.selectors.settings import RandomVersionSettings
from rt_framework.errors import ConfigError
from rt_framework.model import Pair, Scored, Version
from tests.run_helpers import go, job, rows, side


def candidates(names, sample_id="s"):
    """Versions of these names of one sample."""
    return [Scored(sample_id, 0, Version(name, Pair("q", response=name)), {}) for name in names]


def taken(count, *names, **options):
    """Return how often each version is kept, over *count* samples."""
    selector = RandomVersion(RandomVersionSettings(**options))
    return Counter(selector.choose(candidates(names, f"sample-{number}")).kept for number in range(count))


def test_a_rate_is_the_probability_of_a_rewrite():
    """Within four standard errors; several rewrites have equal shares of it."""
    drawn = taken(4000, "original", "b", rate=0.3)
    assert abs(drawn["b"] / 4000 - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5
    drawn = taken(4000, "original", "b.1", "b.2", rate=0.6)
    for name in ("b.1", "b.2"):
        assert abs(drawn[name] / 4000 - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5
    assert taken(50, "original", "b", rate=0) == {"original": 50}
    assert taken(50, "original", "b", rate=1) == {"b": 50}


def test_a_draw_depends_on_seed_sample_and_candidates_only():
    """So that a resumed run decides alike, and two choices of a sample are drawn apart."""
    one, other = (RandomVersion(RandomVersionSettings(rate=0.5, seed=seed)) for seed in (0, 1))
    samples = [f"sample-{number}" for number in range(200)]
    first, again, seeded, second = (
        [selector.choose(candidates(names, sample)).kept != "original" for sample in samples]
        for selector, names in (
            (one, ("original", "b")),
            (one, ("original", "b")),
            (other, ("original", "b")),
            (one, ("original", "c")),
        )
    )
    assert first == again
    for apart in (seeded, second):
        assert 60 < sum(x != y for x, y in zip(first, apart, strict=True)) < 140


@pytest.mark.parametrize("options", [{}, {"rate": 0.5, "run": "runs/x"}])
def test_either_a_rate_or_a_run(options):
    """Neither and both are refused."""
    with pytest.raises(ConfigError, match="give either rate or run"):
        RandomVersion(RandomVersionSettings(**options))


PIPELINE = [
    {"reflect": "instruction"},
    {"choose": {"highest": "ifd"}},
    {"reflect": "response"},
    {"choose": {"lowest": "r-ifd"}},
]


def test_versions_are_taken_as_often_as_a_run_took_them(tmp_path):
    """Each choice by the choices between rewrites of the same names, whatever version was rewritten."""
    go(job(tmp_path, rows(60), PIPELINE), tmp_path / "run")
    wanted = Counter(
        (decision["candidates"][1].split(".")[-1], decision["kept"] != decision["candidates"][0])
        for line in side(tmp_path / "run")
        for decision in line["decisions"]
    )
    for name in ("instruction", "response"):
        rate = wanted[name, True] / (wanted[name, True] + wanted[name, False])
        assert 0 < rate < 1
        for names in (("original", name), ("instruction", f"instruction.{name}")):
            drawn = taken(3000, *names, run=str(tmp_path / "run"))[names[1]] / 3000
            assert abs(drawn - rate) < 4 * (rate * (1 - rate) / 3000) ** 0.5


def test_it_works_as_a_stage(tmp_path):
    """In the place of the run's own selectors, with the same stages before it."""
    run = str(tmp_path / "run")
    go(job(tmp_path, rows(12), PIPELINE), tmp_path / "run")
    control = [one if "reflect" in one else {"choose": {"random-version": {"run": run}}} for one in PIPELINE]
    go(job(tmp_path, rows(12), control), tmp_path / "control")
    reasons = [decision["reason"] for line in side(tmp_path / "control") for decision in line["decisions"]]
    assert len(reasons) == 24 and all("drawn with seed 0, at a rate of" in reason for reason in reasons)


def test_a_run_without_such_a_choice_is_one_line(tmp_path):
    """It names what there is."""
    go(job(tmp_path, rows(4), PIPELINE), tmp_path / "run")
    with pytest.raises(
        ConfigError, match="no choice between rewrites called second, only between instruction; response"
    ):
        taken(1, "original", "second", run=str(tmp_path / "run"))
    go(job(tmp_path, rows(4), [{"reflect": "response"}]), tmp_path / "other")
    with pytest.raises(ConfigError, match="has made no choice between versions"):
        taken(1, "original", "response", run=str(tmp_path / "other"))
