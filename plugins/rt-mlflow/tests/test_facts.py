"""The facts of a run in the form that MLflow accepts. These tests need no MLflow."""

from __future__ import annotations

from observed_parts import progress, summary

from rt_framework.events import RunStarted
from rt_mlflow import facts


def test_money_is_that_of_the_directory_and_shares_are_of_what_is_finished():
    """Not of this process alone."""
    logged = facts.progress(progress())
    assert (logged["teacher/spent_usd"], logged["samples/kept_share"]) == (2.0, 0.25)
    assert "samples/kept_share" not in facts.progress(progress(0))


def test_a_report_is_a_table_whatever_reasons_hold():
    """Marks of tables are escaped."""
    text = facts.report(summary())
    assert "| a \\| b c | 2 |" in text and "| r-ifd | 0.5000 | 0.2500 | 3 |" in text


def test_limits_do_not_make_another_run_but_rows_do():
    """A larger budget goes on; a pilot is a run of its own."""
    event = RunStarted(
        "run", (), 9, "who", {"limits": {"budget_usd": 1, "samples": None}, "data": {"path": "x", "shape": None}}
    )
    larger = RunStarted(
        "run", (), 9, "who", {"limits": {"budget_usd": 2, "samples": None}, "data": {"path": "x", "shape": None}}
    )
    pilot = RunStarted("run", (), 2, "who", event.config)
    assert facts.identity(event) == facts.identity(larger) != facts.identity(pilot)
    assert facts.params(event) == {"rows": "9", "data.path": "x"}
    assert facts.tags(larger)["limits.budget_usd"] == "2"


def test_long_and_odd_text_is_made_fit():
    """Too long, with control characters, with marks that MLflow refuses in names."""
    assert len(facts.clean("x" * 10_000)) == 5000
    assert facts.clean("a\x1b[31m\ud800") == "a�[31m�"
    assert facts.named("5. measure ifd, r-ifd/é") == "5. measure ifd_ r-ifd__"
