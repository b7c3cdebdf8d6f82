"""A config is read strictly: what is wrong is named with its path, in one line, with the nearest right word."""

from __future__ import annotations

import pytest
from attrs import evolve

from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.config.builder import Builder, settings
from rt_framework.config.pipelines import PIPELINES
from rt_framework.config.reading import read_config, spec_of
from rt_framework.config.schema import KEEPING, Config, Data, Limits, Pipeline
from rt_framework.errors import ConfigError, PluginError
from rt_framework.kit.parts import Spec
from rt_framework.kit.user_files import parse_yaml
from rt_framework.pipeline.job import check_parts, steps_of
from rt_framework.plugin.host import Host
from rt_framework.plugin.structuring import structure
from tests.helpers import CONFIG

SMALL = "data: {path: data.json}\npipeline: selective-rt\n"


@pytest.fixture
def make():
    """Builds built-in plugins."""
    return Builder(Host(only=()))


@pytest.fixture
def read(tmp_path):
    """Reads text as a config file, with overrides."""

    def reader(text: str, *overrides: str) -> Config:
        path = tmp_path / "rt.yaml"
        path.write_text(text, "utf-8")
        return read_config(path, overrides)

    return reader


@pytest.fixture
def refusal(read, tmp_path):
    """The message with which a config is refused, without the file's path in front."""

    def reader(text: str, *overrides: str) -> str:
        with pytest.raises(ConfigError) as raised:
            read(text, *overrides)
        assert "\n" not in str(raised.value)
        return str(raised.value).removeprefix(f"{tmp_path / 'rt.yaml'}: ")

    return reader


# --- what is read -----------------------------------------------------------------------------


def test_a_config_reads_as_the_method_does(read):
    """Every part in its short form, everything left out filled in."""
    config = read(CONFIG)
    assert config == Config(
        data=Data("data.json"),
        teacher=Spec("scripted"),
        student=Spec("fake"),
        pipeline=Pipeline(
            stages=(
                Spec("reflect", "instruction"),
                Spec("choose", {"highest": "ifd"}),
                Spec("reflect", "response"),
                Spec("choose", {"lowest": "r-ifd"}),
            )
        ),
    )
    assert config.limits == Limits()
    assert config.pipeline.specs == config.pipeline.stages


@pytest.mark.parametrize(
    "text",
    ["pipeline: cherry", "pipeline: {use: cherry}", "pipeline: [{select: {top: {metric: ifd-loss, fraction: 0.05}}}]"],
)
def test_a_pipeline_is_a_name_a_mapping_or_a_list(read, text):
    """All three say the same."""
    specs = read(f"data: {{path: a}}\n{text}\n").pipeline.specs
    assert specs == (Spec("select", {"top": {"metric": "ifd-loss", "fraction": 0.05}}),)


def test_a_pipeline_by_name_may_be_exhaustive(read):
    """The option stands beside the name."""
    pipeline = read("data: {path: a}\npipeline: {use: selective-rt, exhaustive: true}\n").pipeline
    assert pipeline.exhaustive
    assert [spec.name for spec in pipeline.specs] == ["reflect", "choose", "reflect", "choose", "gate"]


@pytest.mark.parametrize("name", PIPELINES)
def test_every_named_pipeline_can_be_built(make, name):
    """And names only metrics and reflections that exist."""
    steps = steps_of(make, Pipeline(use=name).specs)
    job = Config(Data("rows.json"), Pipeline(use=name), teacher=Spec("replay"), student=Spec("hf"))
    check_parts(make, steps, job)
    assert len(steps) == len(PIPELINES[name])


@pytest.mark.parametrize(
    ("written", "meant", "shown"),
    [
        ("newest", Spec("newest"), "newest"),
        ("hf:org/model", Spec("hf", "org/model"), "hf org/model"),
        ("replay:a:b.jsonl", Spec("replay", "a:b.jsonl"), "replay a:b.jsonl"),
        ({"highest": "ifd"}, Spec("highest", "ifd"), "highest ifd"),
        ({"hf": {"model": "m", "dtype": "float32"}}, Spec("hf", {"model": "m", "dtype": "float32"}), "hf model m, dty"),
        ({"measure": ["ifd", "ppl"]}, Spec("measure", ["ifd", "ppl"]), "measure ifd, ppl"),
        (Spec("same"), Spec("same"), "same"),
    ],
)
def test_the_forms_of_a_spec(written, meant, shown):
    """A name; a name and its first option; one key with options."""
    assert Spec.parse(written) == meant
    assert str(meant).startswith(shown)


@pytest.mark.parametrize("written", ["", "  ", 3, None, [], {}, {"a": 1, "b": 2}, ["a"]])
def test_what_is_no_spec(written):
    """Says what is."""
    with pytest.raises(ConfigError, match="expected a name, 'name:value' or one 'name: options', not"):
        Spec.parse(written)


def test_a_spec_with_wrong_indentation_does_not_show_what_it_holds(refusal):
    """It may hold a key that belongs nowhere."""
    message = refusal(SMALL + "teacher: {litellm: openai/x, api_key: sk-secret}\n")
    assert message == "teacher: expected a name, 'name:value' or one 'name: options', not the keys litellm, api_key"


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pipelin: cherry", "pipelin: unknown key 'pipelin'. Did you mean 'pipeline'? Known: data, pipeline, teacher"),
        ("scoring: {presett: chat}", "scoring.presett: unknown key 'presett'. Did you mean 'preset'? Known: preset, "),
        ("limits: {concurency: 2}", "limits.concurency: unknown key 'concurency'. Did you mean 'concurrency'?"),
        ("output: {fromat: json}", "output.fromat: unknown key 'fromat'. Did you mean 'format'?"),
        ("api_key: sk-1", "api_key: unknown key 'api_key'."),
        ("1: 2", "1: unknown key '1'."),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_the_nearest_right_one(refusal, text, message):
    """At the top and below."""
    assert refusal(f"{SMALL}{text}\n").startswith(message)


def test_a_misspelt_key_is_named_before_the_one_that_is_missing_for_it(refusal):
    """Data was not forgotten, it was misspelt."""
    assert refusal("dta: {path: a}\npipeline: cherry\n").startswith("dta: unknown key 'dta'. Did you mean 'data'?")
    assert refusal("data: {pth: a}\npipeline: cherry\n").startswith("data.pth: unknown key 'pth'. Did you mean 'path'?")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("limits.concurrency=many", "limits.concurrency: expected a whole number, not 'many'"),
        ("limits.concurrency=2.5", "limits.concurrency: expected a whole number, not 2.5"),
        ("limits.concurrency=true", "limits.concurrency: expected a whole number, not True"),
        ("limits.budget_usd=no", "limits.budget_usd: expected a number, not False"),
        ("limits.budget_usd=cheap", "limits.budget_usd: expected a number, not 'cheap'"),
        ("data.path=3", "data.path: expected text, not 3"),
        ("data.path=[a]", "data.path: expected text, not a list"),
        ("data.columns=output", "data.columns: expected a mapping, not 'output'"),
        ("data.columns={output: 3}", "data.columns.output: expected text, not 3"),
        ("data=a.json", "data: expected a mapping with the keys path, format, shape, columns, shard, revision, "),
        ("limits=3", "limits: expected a mapping with the keys concurrency, "),
        ("pipeline=3", "pipeline: expected a mapping with the keys use, stages, exhaustive, not 3"),
        ("pipeline={use: cherry, exhaustive: maybe}", "pipeline.exhaustive: expected true or false, not 'maybe'"),
        ("pipeline=[3]", "pipeline.stages.0: expected a name, 'name:value' or one 'name: options', not 3"),
        ("student=[hf]", "student: expected a name, 'name:value' or one 'name: options', not ['hf']"),
    ],
)
def test_a_value_of_the_wrong_type(refusal, override, message):
    """The message says what was expected, and what the config has instead."""
    assert refusal(SMALL, override).startswith(message)


@pytest.mark.parametrize(
    ("key", "value", "least"),
    [
        ("limits.concurrency", 0, 1),
        ("limits.in_flight", -1, 1),
        ("limits.attempts", 0, 1),
        ("limits.answers", 0, 1),
        ("limits.samples", 0, 1),
        ("limits.fail_on_error", -1, 0),
        ("limits.budget_usd", -0.5, 0),
        ("scoring.max_tokens", 1, 2),
        ("scoring.batch_tokens", 0, 1),
    ],
)
def test_a_number_that_could_never_work(refusal, key, value, least):
    """Refused before anything hangs or is lost."""
    section, name = key.split(".")
    message = refusal(SMALL, f"{key}={value}")
    assert message == f"{section}: {name} must be at least {least}, not {value}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {path: a}\ndata: {path: b}\n", "not valid YAML: key 'data' occurs twice at line 2, column 1"),
        ("data: {path: a, path: b}\n", "not valid YAML: key 'path' occurs twice at line 1, column 17"),
        ("data: &x {path: a}\noutput: *x\n", "not valid YAML: YAML aliases are not allowed at line 2, column 9"),
        ("data: [\n", "not valid YAML: expected the node content, but found '<stream end>' at line 2"),
        ("data: !!python/object/apply:os.getcwd []\n", "not valid YAML: could not determine a constructor for the tag"),
        ("? [a]\n: b\n", "not valid YAML: a key must be a plain value at line 1, column 3"),
        ("[" * 5000, "not usable YAML: maximum recursion depth exceeded"),
        ("day: 2020-13-45\n", "not usable YAML: month must be in 1..12"),
        ("a: \x01", "not valid YAML: unacceptable character #x0001"),
        ("a: \x00", "not UTF-8 text (it has NUL characters); save the config as UTF-8"),
        (
            "- data\n",
            "expected a mapping with the keys data, pipeline, teacher, teachers, student, students, metrics, answers",
        ),
        ("", "expected a mapping with the keys data, "),
        ("pipeline: cherry\n", "key 'data' is missing"),
        ("data: {format: json}\npipeline: cherry\n", "data: key 'path' is missing"),
        ("#" * 1_000_001, "larger than 1000000 bytes; this is no config"),
    ],
)
def test_a_file_that_is_no_config(refusal, text, message):
    """Read safely and strictly, and refused with the place."""
    assert message in refusal(text)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    """The way out is named."""
    with pytest.raises(ConfigError, match="no such file; 'rt init' writes a commented one to start from"):
        read_config(tmp_path / "rt.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path)
    (tmp_path / "rt.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"not UTF-8 text .*; save the config as UTF-8"):
        read_config(tmp_path / "rt.yaml")


# --- overrides --------------------------------------------------------------------------------


def test_overrides_change_keys_at_any_depth(read):
    """Values are YAML; later ones win; sections and options that are not there are made."""
    config = read(
        SMALL,
        "limits.concurrency=3",
        "limits.budget_usd=1",
        "limits.concurrency=4",
        "student=hf:a=b",
        "scoring.template=none",
        "data.columns={output: answer}",
        "output.format=",
    )
    assert config.limits == evolve(Limits(), concurrency=4, budget_usd=1.0)
    assert isinstance(config.limits.budget_usd, float)
    assert config.student == Spec("hf", "a=b")
    assert config.scoring.template == Spec("none")
    assert config.data == Data("data.json", columns={"output": "answer"})
    assert config.output.format is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("limits", "--set limits: expected key=value, for example limits.concurrency=8"),
        ("=3", "--set =3: expected key=value"),
        ("limits..x=3", "--set limits..x=3: expected key=value"),
        ("pipeline.use=a", "--set pipeline.use=a: 'pipeline' is not a mapping in the config"),
        ("limits=[", "--set limits=[: not valid YAML: "),
    ],
)
def test_an_override_that_cannot_be_read(refusal, override, message):
    """Named as it was given."""
    assert refusal(SMALL, override).startswith(message)


def test_a_value_of_a_command_line_is_read_like_a_config():
    """As strictly, and with its place."""
    assert parse_yaml("{top: {metric: ifd}}", "--by") == {"top": {"metric": "ifd"}}
    with pytest.raises(ConfigError, match="--by: not valid YAML: key 'a' occurs twice at line 1, column 8"):
        parse_yaml("{a: 1, a: 2}", "--by")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("hf:org/model", Spec("hf", "org/model")),
        ("hf", Spec("hf")),
        ("{hf: {model: m, dtype: float32}}", Spec("hf", {"model": "m", "dtype": "float32"})),
        ("hf: {model: m}", Spec("hf", {"model": "m"})),
    ],
)
def test_a_plugin_of_a_command_line(written, meant):
    """By name, by name and value, or as YAML with or without braces."""
    assert spec_of(written, "--student") == meant


def test_a_plugin_of_a_command_line_that_is_no_yaml_names_its_option():
    """There may be several on one line."""
    with pytest.raises(ConfigError, match=r"^--student: not valid YAML: "):
        spec_of("{hf: [", "--student")


# --- options of plugins -----------------------------------------------------------------------


def test_a_value_alone_is_the_first_option(make):
    """hf:MODEL, {highest: ifd} and a mapping mean the same."""
    entry = Host(only=()).find("selectors", "highest")
    assert settings(entry, "ifd") == settings(entry, {"metric": "ifd"})
    assert settings(entry, {"metric": "ifd"}).gates == {}


def test_a_mapping_is_the_first_option_where_there_is_no_other(make):
    """A gate's metrics are its only option; its name may be left out or written."""
    entry = Host(only=()).find("stages", "gate")
    assert settings(entry, {"ifd": {"below": 1}}) == settings(entry, {"metrics": {"ifd": {"below": 1}}})


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("students", "hf", "student 'hf': key 'model' is missing"),
        ("students", {"hf": {"modle": "x"}}, "student 'hf'.modle: unknown key 'modle'. Did you mean 'model'?"),
        (
            "students",
            {"hf": {"model": "x", "dtype": "flaot32"}},
            "student 'hf'.dtype: expected auto or float32 or bfloat16 or float16, not 'flaot32'. Did you mean 'float",
        ),
        ("students", {"hf": {"model": "x", "trust_remote_code": True}}, "student 'hf': trust_remote_code runs the"),
        ("selectors", {"top": {"metric": "ifd"}}, "give either fraction or count, and not both"),
        ("selectors", {"top": {"metric": "ifd", "count": "2"}}, "selector 'top'.count: "),
        ("stages", {"measure": "ifd"}, "stage 'measure'.metrics: expected a list, not 'ifd'"),
        ("stages", {"measure": [3]}, "stage 'measure'.metrics.0: expected text, not 3"),
        ("metrics", {"r-ifd": {"a": 1}}, "metric 'r-ifd' takes no options, but got {'a': 1}"),
        ("metrics", {"ifd": {"of": "all"}}, "metric 'ifd'.of: expected answer or reasoning or whole, not 'all'"),
        (
            "teachers",
            {"litellm": {"model": "m", "extra": {"api_key": "sk-1"}}},
            "teacher 'litellm'.extra.api_key: API keys come only",
        ),
        (
            "teachers",
            {"litellm": {"model": "m", "extra": {"HF_TOKEN": "hf"}}},
            "teacher 'litellm'.extra.HF_TOKEN: API keys come",
        ),
        (
            "teachers",
            {"litellm": {"model": "m", "api_key": "sk-1"}},
            "teacher 'litellm'.api_key: API keys come only from the environment",
        ),
        ("teachers", {"litellm": {"model": "m", "api_base": "http://a.org"}}, "must start with https://"),
        ("teachers", {"litellm": {"model": "m", "extra": {"a": [1]}}}, "teacher 'litellm'.extra.a: expected text or"),
    ],
)
def test_options_that_do_not_fit_are_one_line_that_names_the_plugin(make, kind, spec, message):
    """Validators of the settings too; no value of a key is ever shown."""
    with pytest.raises(ConfigError) as raised:
        make.spec(kind, Spec.parse(spec))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "sk-1" not in str(raised.value)


def test_options_of_any_plain_type_are_kept_as_they_are():
    """A parameter of the provider may be text, a number or a switch, and true is no number."""
    extra = {"effort": "low", "k": 3, "p": 0.5, "on": True}
    teacher = structure({"model": "m", "extra": extra, "structured": False}, LiteLLMSettings)
    assert teacher == LiteLLMSettings("m", extra=extra, structured=False)
    assert isinstance(teacher.extra["on"], bool)


# --- stages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "kind", "message"),
    [
        ({"chose": "newest"}, PluginError, "pipeline.1: unknown stage 'chose'. Did you mean 'choose'?"),
        ({"reflect": "instructoin"}, PluginError, "pipeline.1: unknown reflection 'instructoin'. Did you mean 'instru"),
        ({"choose": {"hihgest": "ifd"}}, PluginError, "pipeline.1: unknown selector 'hihgest'. Did you mean 'highest'"),
        ({"choose": {"highest": {"metrc": "ifd"}}}, ConfigError, "pipeline.1: selector 'highest'.metrc: unknown key"),
        (
            {"choose": {"top": {"metric": "ifd", "count": 1}}},
            ConfigError,
            "pipeline.1: selector 'top' chooses between s",
        ),
        ({"select": "newest"}, ConfigError, "pipeline.1: selector 'newest' chooses between versions; use it with 'cho"),
        ({"gate": {"ifd": {"belw": 1}}}, ConfigError, "pipeline.1: stage 'gate'.metrics.ifd.belw: unknown key 'belw'"),
        ({"gate": {}}, ConfigError, "pipeline.1: stage 'gate': key 'metrics' is missing"),
        (
            {"unimproved": "maybe"},
            ConfigError,
            "pipeline.1: stage 'unimproved'.policy: expected drop or keep, not 'mayb",
        ),
    ],
)
def test_a_stage_that_cannot_be_built_is_named_by_its_place(make, stage, kind, message):
    """Counted from 0, as the keys of a config are."""
    with pytest.raises(kind) as raised:
        steps_of(make, [Spec("choose", "newest"), Spec.parse(stage)])
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    "stage",
    [
        {"gate": {"idf": {"below": 1}}},
        {"choose": {"highest": "idf"}},
        {"measure": ["idf"]},
        {"select": {"top": {"metric": "idf", "count": 1}}},
    ],
)
def test_an_unknown_metric_is_named_by_the_place_of_its_stage(make, stage):
    """Every stage that reads a metric says so, not only those that look it up themselves."""
    specs = (Spec("choose", "newest"), Spec.parse(stage))
    job = Config(Data("rows.json"), Pipeline(stages=specs), student=Spec("hf"))
    with pytest.raises(PluginError, match=r"^pipeline\.1: unknown metric 'idf'\. Did you mean 'ifd'\?"):
        check_parts(make, steps_of(make, specs), job)


@pytest.mark.parametrize("pipeline", [Pipeline(), Pipeline(use="cherry", stages=(Spec("choose", "newest"),))])
def test_a_pipeline_has_a_name_or_stages(pipeline):
    """Neither and both are errors."""
    with pytest.raises(ConfigError, match="pipeline: give either the name of a pipeline, or a list of stages"):
        _ = pipeline.specs


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        (["reflect"], True),
        (["reflect", "gate", "measure"], True),
        (["reflect", "choose", "reflect", "select"], True),
        (["reflect", "gate", "choose"], False),
        (["reflect", "of-another-package"], False),  # it may choose
        (["gate", "select"], False),
    ],
)
def test_rewrites_that_no_stage_chooses_are_told(stages, told):
    """They would be paid for, and no sample would take one. A new built-in stage has to say whether it chooses."""
    assert {*KEEPING, "reflect", "choose"} == set(Builder(Host(only=[])).names("stages"))
    assert bool(Pipeline(stages=tuple(map(Spec, stages))).unchosen) == told
