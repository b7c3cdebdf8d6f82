"""Numbers in configs, options and requests: finite and in range, or refused in one line before anything is paid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module

import click
import pytest
from attrs import evolve, fields, frozen
from attrs import has as is_attrs

from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.teachers.extra import refusal
from rt_framework.builtin.teachers.litellm import _litellm
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.cli import rt
from rt_framework.cli.numbers import Number, Whole
from rt_framework.config.schema import Limits, ScoringConfig
from rt_framework.errors import BudgetReached, ConfigError, PluginError
from rt_framework.hookspecs import KINDS
from rt_framework.kit.bounds import WHOLE, within
from rt_framework.model import Request, Sampling
from rt_framework.plugin.host import Host
from rt_framework.plugin.structuring import structure
from rt_framework.teacher.asking import checked
from tests.helpers import Cli
from tests.run_helpers import Priced, go, job, rows

UNFIT = (math.inf, -math.inf, math.nan, 10**400, -(10**5000), 2**63)
"""Numbers with which nothing can be computed or stored; YAML has all of them."""

# --- settings ---------------------------------------------------------------------------------


@frozen
class Theirs:
    """Settings of a third party, whose author checks nothing."""

    number: float = 0.0
    count: int | None = None
    anything: object = None
    mixed: int | str = 0
    listed: tuple[float, ...] = ()
    named: dict[str, float] | None = None


@pytest.mark.parametrize("number", UNFIT, ids=lambda one: str(one)[:5] if isinstance(one, float) else "long")
@pytest.mark.parametrize(
    ("place", "put"),
    [
        ("number", lambda n: n),
        ("count", lambda n: n),
        ("anything", lambda n: n),
        ("anything.deep.1", lambda n: {"deep": [0, n]}),
        ("mixed", lambda n: n),
        ("listed.2", lambda n: [1, 2, n]),
        ("named.a", lambda n: {"a": n}),
    ],
)
def test_a_number_that_nothing_can_hold_is_refused_in_any_settings(place, put, number):
    """With the path of the key and never with thousands of digits, whatever the class declares."""
    with pytest.raises(ConfigError) as refused:
        structure({place.split(".")[0]: put(number)}, Theirs, "teacher 'theirs'")
    message = str(refused.value)
    assert message.startswith(f"teacher 'theirs'.{place}: expected a finite number of at most 64 bits, not ")
    assert len(message) < 140


def _numeric(settings: type) -> Iterator[str]:
    """Names of the fields of a settings class that hold one number."""
    for field in fields(settings):
        kinds = str(field.type)
        others = ("dict", "tuple", "Spec", "str", "Literal")
        if ("int" in kinds or "float" in kinds) and not any(word in kinds for word in others):
            yield field.name


def _settings() -> Iterator[type]:
    """Every settings class of the built-in plugins, and the sections of the config."""
    host = Host(only=[])
    yield from (Limits, ScoringConfig)
    for kind in KINDS:
        for name in host.registry.names(kind):
            found = host.find(kind, name).settings
            if found is not None and is_attrs(found):
                yield found


MAY_BE_NEGATIVE = {"seed", "below", "at_most", "above", "at_least"}
"""Fields that any finite number suits: seeds, and bounds of scores."""
CHECKED_TOGETHER = {"fraction", "count"}
"""Fields of a selector, which checks when it is made that exactly one of them is given, and its range."""


@pytest.mark.parametrize(
    "settings", sorted(set(_settings()), key=lambda one: one.__name__), ids=lambda one: one.__name__
)
def test_every_number_of_the_built_in_settings_has_a_range(settings):
    """Also where a program builds the settings itself: -1 and infinity are refused for every numeric option."""
    for name in set(_numeric(settings)) - MAY_BE_NEGATIVE - CHECKED_TOGETHER:
        validator = getattr(fields(settings), name).validator
        assert validator is not None, f"{settings.__name__}.{name} has no range"
        for number in (-1, -100_000, *UNFIT):
            with pytest.raises(ConfigError, match=name):
                validator(None, getattr(fields(settings), name), number)


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (within(least=1), [1, 2, WHOLE, None, 1.5], [0, -1, True, "8", 0.5, math.inf, 2**63]),
        (within(above=0, most=1), [0.1, 1], [0, 1.01, -1, math.nan, [1]]),
        (within(), [-(2**63) + 1, 0.0], [-(2**63) - 1, -math.inf]),
    ],
)
def test_the_bounds_are_what_they_say(validator, good, bad):
    """At least, above, at most; a word or a truth value is no number."""
    attribute = fields(Theirs).number
    for number in good:
        validator(None, attribute, number)
    for number in bad:
        with pytest.raises(ConfigError, match=r"^number must be"):
            validator(None, attribute, number)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            (f"limits.{name}", value)
            for name in ("budget_usd", "timeout", "fail_on_error")
            for value in (".inf", "-.inf", ".nan", "1e400", "-1")
        ),
        *(
            (f"limits.{name}", value)
            for name in ("concurrency", "in_flight", "attempts", "answers", "samples")
            for value in (".inf", "1" * 400, "0x" + "f" * 20, "-1", "1.5")
        ),
        ("limits.budget_usd", "1e300"),
        ("limits.attempts", "5000"),
        ("scoring.max_tokens", "1" * 400),
        ("scoring.batch_tokens", ".nan"),
        ("teacher", "{litellm: {model: openai/m, input_price: -1, output_price: 1}}"),
        ("teacher", "{litellm: {model: openai/m, input_price: .inf, output_price: .inf}}"),
        ("teacher", "{litellm: {model: openai/m, input_price: 1, output_price: 1e12}}"),
        ("teacher", "{litellm: {model: openai/m, extra: {top_k: .nan}}}"),
        ("teacher", "{hf: {model: m, batch_size: 0}}"),
        ("pipeline", "[{reflect: {instruction: {max_tokens: -100000}}}]"),
        ("pipeline", "[{reflect: {instruction: {max_tokens: 10000000000}}}]"),
        ("pipeline", "[{reflect: {instruction: {temperature: -0.1}}}]"),
        ("pipeline", "[{reflect: {instruction: {retry_temperature: .inf}}}]"),
        ("pipeline", "[{reflect: instruction}, {select: {top: {metric: length, fraction: .nan}}}]"),
        ("pipeline", "[{reflect: instruction}, {gate: {metrics: {length: {below: .inf}}}}]"),
    ],
)
def test_a_run_refuses_a_bad_number_in_one_line(key, value, monkeypatch, capfd, tmp_path):
    """Exit code 2 and no run directory: nothing was sent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    (tmp_path / "data.json").write_text('[{"instruction": "a", "output": "b"}]')
    (tmp_path / "job.yaml").write_text(
        "data: {path: data.json}\nteacher: scripted\npipeline: [{reflect: instruction}]\n"
    )
    done = Cli(monkeypatch, capfd)("run", "job.yaml", "--set", f"{key}={value}")
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1), done.err
    assert len(done.err) < 400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.json", "job.yaml"]


# --- the command line -------------------------------------------------------------------------


def _options() -> Iterator[tuple[str, click.Option]]:
    """Every option of every command that takes a number."""
    context = click.Context(rt)
    for name in rt.list_commands(context):
        found = rt.get_command(context, name)
        inner = getattr(found, "commands", {}).values() or [found]
        for command in inner:
            for option in command.params:
                if isinstance(
                    option.type,
                    (click.types.IntParamType, click.types.FloatParamType, click.IntRange, click.FloatRange),
                ):
                    yield f"{name} {option.name}", option


@pytest.mark.parametrize(("name", "option"), [pytest.param(*one, id=one[0]) for one in _options()])
def test_every_numeric_option_of_every_command_is_bounded(name, option):
    """Infinity, NaN, numbers beyond 64 bits and, but for a seed, negative ones."""
    assert isinstance(option.type, Whole | Number), name
    for text in ("nan", "inf", "-inf", "1e400", "1" * 400, "-1"):
        if text == "-1" and option.name.endswith("seed"):
            continue
        if text == "1" * 400 and isinstance(option.type, Number):
            text = "1" * 4000
        with pytest.raises(click.BadParameter):
            option.type.convert(text, option, None)


# --- requests of plugins ----------------------------------------------------------------------

SOUND = Request("r", "hash", 0, (), Sampling())


class Duck:
    """Looks like a sampling."""

    max_tokens = 10
    temperature = top_p = 1.0
    seed = None


class Cheap(Request):
    """A request that says that its prompt is nothing."""

    most_prompt_tokens = -(10**6)


@pytest.mark.parametrize(
    "bad",
    [
        *(evolve(SOUND, sampling=Sampling(max_tokens=n)) for n in (0, -100_000, 1.5, True, None, 10**400, math.inf)),
        *(evolve(SOUND, sampling=Sampling(temperature=n)) for n in (-0.1, math.inf, math.nan, None, "1")),
        *(evolve(SOUND, sampling=Sampling(top_p=n)) for n in (0, -1, 1.1, math.nan, None)),
        *(evolve(SOUND, sampling=Sampling(seed=n)) for n in (1.5, 10**400, "a")),
        evolve(SOUND, index=-1),
        evolve(SOUND, sampling=Duck()),
        Cheap("r", "hash", 0, (), Sampling()),
        None,
    ],
)
def test_a_request_of_a_plugin_that_could_be_reserved_for_too_little_is_refused(bad):
    """Before a price is computed from it."""
    with pytest.raises(ValueError, match=r"cannot be sent|must render a Request"):
        checked(bad)


def test_a_sound_request_is_given_back_as_it_is():
    """So that keys do not change."""
    for sampling in (Sampling(), Sampling(0.7, 0.5, 1, 3), Sampling(1, 1, 4096, -5)):
        request = evolve(SOUND, sampling=sampling)
        assert checked(request) is request


def test_a_negative_reservation_is_that_samples_failure(tmp_path, monkeypatch):
    """Of a reflection that goes wrong for one of four: nothing is sent for that one, and the others are asked."""
    whole = InstructionReflection.render

    def reckless(self, pair, index, structured):
        request = whole(self, pair, index, structured)
        return evolve(request, sampling=Sampling(max_tokens=-100_000)) if "Name 2 " in pair.instruction else request

    monkeypatch.setattr(InstructionReflection, "render", reckless)
    config = job(tmp_path, rows(4), [{"reflect": "instruction"}], limits={"budget_usd": 1})
    teacher = Priced()
    summary = go(config, tmp_path / "run", teacher)
    assert (summary.outcomes["failed"], len(teacher.requests)) == (1, 3)
    assert all(request.sampling.max_tokens > 0 for request in teacher.requests)


def test_a_reflection_that_is_always_wrong_is_named_before_anything_is_sent(tmp_path, monkeypatch):
    """One line for the plugin, not a failure of every sample."""
    whole = InstructionReflection.render
    bad = Sampling(temperature=math.nan)
    monkeypatch.setattr(InstructionReflection, "render", lambda *a: evolve(whole(*a), sampling=bad))
    teacher = Priced()
    with pytest.raises(PluginError, match=r"reflection 'instruction' cannot ask about a plain pair: .*temperature"):
        go(job(tmp_path, rows(2), [{"reflect": "instruction"}]), tmp_path / "run", teacher)
    assert teacher.requests == []


# --- what makes a call dearer than reserved ---------------------------------------------------

DEARER = (
    "n",
    "best_of",
    "maxOutputTokens",
    "max-output-tokens",
    "max_completion_tokens",
    "service_tier",
    "stream",
    "web_search",
    "thinking_budget",
    "candidateCount",
    "speed",
    "fallbacks",
    "input_cost_per_second",
)


@pytest.mark.parametrize("name", DEARER)
def test_a_parameter_that_makes_a_call_dearer_is_refused_with_its_reason(name):
    """However it is spelt."""
    with pytest.raises(ConfigError, match=f"teacher extra holds '{name}', which cannot be set there: .{{20,}}"):
        LiteLLMSettings("openai/m", extra={name: 2})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reasoning_effort", "low"),
        ("top_k", 40),
        ("service_tier", "flex"),
        ("service_tier", "default"),
        ("enable_thinking", False),
        ("verbosity", "low"),
        ("api_version", "2024-10-21"),
        ("frequency_penalty", 0.5),
        ("logprobs", True),
    ],
)
def test_a_parameter_that_only_steers_the_text_passes(name, value):
    """At the price that is reserved."""
    assert LiteLLMSettings("openai/m", extra={name: value}).extra == {name: value}


PASSING = {
    *("allowed_model_region", "api_key", "api_version", "aws_batch_role_arn", "bedrock_tags", "client_id"),
    *("default_api_key_rpm_limit", "default_api_key_tpm_limit", "frequency_penalty", "logit_bias", "logprobs"),
    *("metadata", "presence_penalty", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "region_name"),
    *("safety_identifier", "stop", "store", "tags", "tenant_id", "top_logprobs", "user", "verbosity", "client_secret"),
}
"""litellm's parameters that change neither the price nor the address; those that name a key are refused elsewhere."""


def test_each_parameter_that_litellm_knows_is_decided_on():
    """One that a new release brings has to be looked at: does it make an answer longer, dearer, or go elsewhere?"""
    litellm = _litellm()
    import_module("litellm.constants")
    known = {*map(str, litellm.types.utils.all_litellm_params), *litellm.constants.DEFAULT_CHAT_COMPLETION_PARAM_VALUES}
    open_ = {
        name for name in known if not refusal(name, 1) and not name.startswith(("anthropic_", "azure_", "openai_"))
    }
    assert open_ == PASSING


def test_a_budget_of_nothing_sends_nothing_that_is_paid(tmp_path):
    """It is allowed, and says what it says."""
    teacher = Priced()
    with pytest.raises(BudgetReached):
        go(job(tmp_path, rows(2), [{"reflect": "instruction"}], limits={"budget_usd": 0}), tmp_path / "run", teacher)
    assert teacher.requests == []
