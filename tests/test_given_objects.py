"""Parts that a program gives as objects: each does what the same part does by its name, or is refused in one line."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType

import pytest

import rt_framework as rt
from rt_framework.errors import ConfigError, PluginError
from rt_framework.plugin import Host
from rt_framework.testing import FakeStudent, ScriptedTeacher, rewriting
from tests.helpers import REPO
from tests.run_helpers import rows

QUIET = {"progress": False}
EXAMPLES = ("selector", "reflection", "template", "executor", "stage", "format", "metric", "student")


@pytest.fixture
def examples(monkeypatch):
    """The modules of the documentation, which offer a part of each kind by name and as a class."""
    monkeypatch.syspath_prepend(str(REPO / "docs" / "examples"))
    return {name: import_module(name) for name in EXAMPLES}


class Other(FakeStudent):
    """A student with a name and losses of its own."""

    fingerprint = "other"


class Second(ScriptedTeacher):
    """A teacher that is another one."""

    identity = "second"


def job(**more):
    """A job with objects as teacher and student."""
    return {
        "teacher": ScriptedTeacher(rewriting),
        "student": FakeStudent(),
        "scoring": {"preset": "superfiltering"},
        "pipeline": [{"reflect": "response"}, {"choose": {"highest": "ifd"}}],
    } | more


def ran(folder, **more):
    """Run a job over twelve rows, with the example plugins of the documentation; return its table of rows."""
    host = Host(modules=EXAMPLES, only=[])
    return list(rt.run(job(**more), rows(12), folder, host=host, **QUIET).rows())


def a_selector(parts):
    made = parts["selector"].ClearlyHigher(parts["selector"].MarginSettings("ifd", 0.01))
    named = {"clearly-higher": {"metric": "ifd", "margin": 0.01}}
    return [{"pipeline": [{"reflect": "response"}, {"choose": one}]} for one in (made, named)]


def a_selector_over_the_data_set(parts):
    made = parts["selector"].Shortest(parts["selector"].ShortestSettings(5))
    return [{"pipeline": [{"select": one}]} for one in (made, {"shortest": 5})]


def a_reflection(parts):
    kept = [{"choose": {"highest": "ifd"}}]
    return [
        {"pipeline": [{"reflect": {"reflection": one, "as": "mine"}}, *kept]}
        for one in (parts["reflection"].Plain(), "plain")
    ]


def a_template(parts):
    return [
        {"scoring": {"preset": "superfiltering", "template": one}} for one in (parts["template"].Labels(), "labels")
    ]


def an_executor(parts):
    return [{"scoring": {"executor": one}} for one in (parts["executor"].InlineExecutor(), "inline")]


def a_stage(parts):
    made = parts["stage"].AtMost(parts["stage"].AtMostSettings(26), None)
    return [{"pipeline": [one]} for one in (made, {"at-most": 26})]


def a_stage_over_the_data_set(parts):
    return [{"pipeline": [one]} for one in (parts["stage"].Distinct(None), "distinct")]


def a_metric(parts):
    stages = [{"reflect": "response"}, {"choose": {"highest": "mine"}}]
    return [{"metrics": {"mine": one}, "pipeline": stages} for one in (parts["metric"].Balance(), "balance")]


def a_student(parts):
    return [{"student": one} for one in (parts["student"].ByteStudent(), "bytes")]


def a_further_student(parts):
    stages = [{"reflect": "response"}, {"choose": {"highest": "ifd@base"}}]
    return [{"students": {"base": one}, "pipeline": stages} for one in (parts["student"].ByteStudent(), "bytes")]


@pytest.mark.parametrize(
    "kind",
    [
        a_selector,
        a_selector_over_the_data_set,
        a_reflection,
        a_template,
        an_executor,
        a_stage,
        a_stage_over_the_data_set,
        a_metric,
        a_student,
        a_further_student,
    ],
)
def test_a_part_that_is_given_does_what_it_does_by_its_name(kind, examples, tmp_path):
    """The same versions, outcomes and scores; and the same call again asks nothing."""
    given, named = kind(examples)
    rows_of = ran(tmp_path / "given", **given)
    assert rows_of == ran(tmp_path / "named", **named)
    assert [row["row"] for row in rows_of] == list(range(12))
    silent = ScriptedTeacher(lambda request: pytest.fail("it was asked again"))
    assert rows_of == ran(tmp_path / "given", **given, teacher=silent)


def test_teachers_are_given_by_name(tmp_path):
    """Each is asked by the stage that names it."""
    second = Second(lambda request: '{"critique": "Thin.", "response": "By the second."}')
    stages = [{"reflect": {"reflection": "response", "teacher": "two"}}, {"choose": "newest"}]
    finished = rt.run(job(teachers={"two": second}, pipeline=stages), rows(3), tmp_path / "run", **QUIET)
    assert [row["response"] for row in finished.rows()] == ["By the second."] * 3
    assert len(second.requests) == 3


def test_parts_of_a_scoring_are_given_too(examples):
    """Template, executor, student and metric."""
    host = Host(modules=EXAMPLES, only=[])

    def table(template, executor, student, metric):
        more = {"preset": "superfiltering", "scoring": {"template": template, "executor": executor}, "host": host}
        return list(rt.score(rows(5), student, {"ifd": "ifd", "mine": metric}, **more, **QUIET))

    made = [examples["template"].Labels(), examples["executor"].InlineExecutor(), examples["student"].ByteStudent()]
    given = table(*made, examples["metric"].Balance())
    assert given == table("labels", "inline", "bytes", "balance")
    assert len({line["metrics"]["mine"] for line in given}) > 1


def test_students_are_given_by_name(examples):
    """Each has its own losses; an executor that is an object serves one student alone, as it is started with one."""

    def table(base, executor="local"):
        more = {"students": {"base": base}, "scoring": {"executor": executor}, "host": Host(modules=EXAMPLES, only=[])}
        return list(rt.score(rows(5), FakeStudent(), ["ifd", "ifd@base"], **more, **QUIET))

    assert table(examples["student"].ByteStudent()) == table("bytes") == table("bytes", "inline")
    with pytest.raises(ConfigError, match="an object runs the work of one student; with several, name an executor"):
        table("bytes", examples["executor"].InlineExecutor())


def lacking(**members):
    """An object with these members and no others."""
    return type("Lacking", (), members)()


ASKING = MappingProxyType({})


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"student": lacking(fingerprint="x")}, "student 'Lacking' lacks 'encode', 'score' of the protocol Student"),
        ({"teacher": lacking(identity="x", structured=True)}, "'Lacking' lacks 'complete' of the protocol Teacher"),
        ({"pipeline": [lacking(needs=(), reflections=ASKING)]}, "lacks 'run' of the protocol Stage"),
        ({"pipeline": [lacking(needs=(), run_all=len)]}, "lacks 'reflections' of the protocol DatasetStage"),
        ({"pipeline": [{"choose": lacking(needs=())}]}, "selector 'Lacking' lacks 'choose' of the protocol Selector"),
        ({"pipeline": [{"reflect": lacking(rewrites=("response",))}]}, "lacks 'render', 'parse' of the protocol Refl"),
        ({"metrics": {"m": lacking(direction="none", spans=len)}, "pipeline": [{"measure": ["m"]}]}, "lacks 'valid', "),
        ({"scoring": {"template": lacking(prompt=len)}}, "lacks 'reverse', 'header' of the protocol Template"),
        ({"scoring": {"executor": lacking(workers=1)}}, "lacks 'start', 'run', 'close' of the protocol Executor"),
        ({"student": FakeStudent}, "FakeStudent is a class: give an object of it, FakeStudent(…)"),
        ({"output": {"format": lacking()}}, "output.format: expected text, not an object (Lacking given as an object)"),
        ({"data": {"format": lacking()}}, "data.format: expected text, not an object (Lacking given as an object)"),
        ({"data": {"format": "csv"}}, "data.format: rows in memory have no format; leave 'csv' out"),
        ({"data": {"split": "train"}}, "data.split is for data sets of the hub, and 'rows in memory' is none"),
        ({"limits": lacking()}, "limits: expected a mapping with the keys concurrency, "),
        ({"pipeline": lacking()}, "pipeline: expected a mapping with the keys use, stages, exhaustive, not an object"),
    ],
)
def test_what_cannot_be_a_part_is_one_line(more, line, tmp_path):
    """Before anything is asked."""
    teacher = more.get("teacher", ScriptedTeacher(rewriting))
    with pytest.raises((ConfigError, PluginError)) as caught:
        rt.run(job(**{"teacher": teacher, **more}), rows(3), tmp_path / "run", **QUIET)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    assert not getattr(teacher, "requests", [])


def test_a_property_of_a_part_is_not_read_before_its_time():
    """The fingerprint of a student may load a model, and is asked for when it is needed."""
    from rt_framework.config.members import check_members

    class Heavy(FakeStudent):
        @property
        def fingerprint(self):
            raise RuntimeError("loaded")

    check_members("students", "heavy", Heavy())
