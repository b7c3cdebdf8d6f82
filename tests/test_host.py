"""Every rule of the host, each with a plugin that breaks it. Plugins are packages as pip would leave them."""

from __future__ import annotations

import itertools
import re
import sys

import pluggy
import pytest

from rt_framework import hookimpl
from rt_framework.config.builder import Builder
from rt_framework.errors import PluginError
from rt_framework.hookspecs import GROUP, KINDS
from rt_framework.plugin import loading, pluggy_hooks, reporters
from rt_framework.plugin.host import Host
from tests.helpers import Cli, install, rt, the_error

_unique = itertools.count()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory that Python imports from, empty of packages."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    return path


@pytest.fixture
def package(site):
    """Installs a plugin package; each has a module of its own, so that no import is remembered."""

    def make(code: str, name: str = "odd", dist: str | None = None, version: str = "1.0") -> str:
        module = f"odd_module_{next(_unique)}"
        install(site, dist or f"rt-{name}", {module: code.replace("THIS", module)}, {name: module}, version=version)
        return module

    return make


@pytest.fixture
def cli(monkeypatch, capfd):
    """The command line."""
    return Cli(monkeypatch, capfd)


def metric(name: str = "odd-metric", target: str = "THIS:Metric") -> str:
    """Source of a module that offers a metric."""
    return f"""
from rt_framework import hookimpl, Range

class Metric:
    direction, valid = "higher", Range()
    def spans(self, pair, frame): return {{}}
    def reduce(self, losses): return 0.0

@hookimpl
def rt_register_metrics(register):
    register("{name}", "{target}", help="odd")
"""


HOOK = "from rt_framework import hookimpl\n@hookimpl\ndef rt_register_metrics(register):\n    "

BROKEN = {
    "import": ("import no_such_module_anywhere", "import", "ModuleNotFoundError: No module named 'no_such_module"),
    "syntax": ("def broken(:", "import", "SyntaxError"),
    "exit": ("raise SystemExit(3)", "import", "SystemExit: 3"),
    "misspelt": (
        "from rt_framework import hookimpl\n@hookimpl\ndef rt_register_metrisc(register): ...",
        "hooks",
        "unknown hook 'rt_register_metrisc'. Did you mean 'rt_register_metrics'?",
    ),
    "misspelt in front": (
        f"{HOOK}pass\n@hookimpl\ndef rt_registr_teachers(register): ...",
        "hooks",
        "unknown hook 'rt_registr_teachers'. Did you mean 'rt_register_teachers'?",
    ),
    "unmarked": ("def rt_register_metrics(register): ...", "hooks", "'rt_register_metrics' is not marked with @hook"),
    "empty": ("x = 1", "hooks", "no hook found; known: rt_register_teachers"),
    "arguments": (
        "from rt_framework import hookimpl\n@hookimpl\ndef rt_register_metrics(registry): ...",
        "hooks",
        "hook 'rt_register_metrics' must take the argument 'register', but takes registry",
    ),
    "no argument": (
        "from rt_framework import hookimpl\n@hookimpl\ndef rt_register_metrics(): ...",
        "hooks",
        "hook 'rt_register_metrics' must take the argument 'register', but takes nothing",
    ),
    "default argument": (
        "from rt_framework import hookimpl\n@hookimpl\ndef rt_register_metrics(register=None): ...",
        "hooks",
        "hook 'rt_register_metrics': argument 'register' has a default and would never be passed",
    ),
    "newer API": (
        f"RT_PLUGIN_API = (2, 99)\n{HOOK}pass",
        "version",
        "written for plugin API 2.99, this is 2.0: update rt",
    ),
    "older API": (
        f"RT_PLUGIN_API = (1, 9)\n{HOOK}pass",
        "version",
        "written for plugin API 1.9, this is 2.0: update the",
    ),
    "odd API": (
        f"RT_PLUGIN_API = '1'\n{HOOK}pass",
        "version",
        "RT_PLUGIN_API must be two whole numbers such as (2, 0)",
    ),
    "raises": (f"{HOOK}raise RuntimeError('oh no')", "register", "RuntimeError: oh no"),
    "exits": (f"{HOOK}raise SystemExit('bye')", "register", "SystemExit: bye"),
    "target": (f"{HOOK}register('a', 'no.colon')", "register", "target 'no.colon' of 'a' is not of the form"),
    "target object": (f"{HOOK}register('a', int)", "register", "is not of the form 'package.module:Attribute'"),
    "name": (f"{HOOK}register(' a', 'b:c')", "register", "metric name ' a' is not a non-empty string"),
    "twice": (f"{HOOK}register('a', 'b:c'); register('a', 'b:d')", "register", "metric 'a' is registered twice"),
    "settings": (f"{HOOK}register('a', 'b:c', settings=dict)", "register", "settings of 'a' are no attrs class"),
    "place of settings": (
        f"{HOOK}register('a', 'b:c', settings='b')",
        "register",
        "settings 'b' of 'a' are not of the",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_blamed_and_breaks_nothing_else(package, fault):
    """Plugin, version, phase and exception are kept; what exists can be used, and what does not says why."""
    code, phase, message = BROKEN[fault]
    package(code, "abroken", version="2.5")
    package(metric(), "good")
    host = Host()
    assert host.find("metrics", "ifd").plugin == "builtin"
    assert Builder(host)("metrics", "odd-metric").direction == "higher"
    (failed,) = host.failed
    assert (failed.plugin, failed.version, failed.phase) == ("abroken", "2.5", phase)
    assert message in str(failed)
    with pytest.raises(PluginError) as raised:
        host.find("metrics", "mine")
    assert f"plugin 'abroken' 2.5 failed in {phase}: " in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize("fault", BROKEN)
def test_strict_raises(package, fault):
    """A strict host takes no broken plugin, used or not."""
    code, phase, message = BROKEN[fault]
    package(code)
    with pytest.raises(PluginError, match=f"failed in {phase}") as raised:
        Host(strict=True).find("metrics", "ifd")
    assert message in str(raised.value)


_spec = pluggy.HookspecMarker(GROUP)


class OldSpecs:
    """A hook and an argument on their way out."""

    @_spec(warn_on_impl=DeprecationWarning("rt_register_judges: offer a stage instead"))
    def rt_register_judges(self, register): ...

    @_spec(warn_on_impl_args={"old": DeprecationWarning("rt_register_referees: old is empty, leave it out")})
    def rt_register_referees(self, register, old): ...


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("rt_register_judges(register)", "rt_register_judges: offer a stage instead"),
        ("rt_register_referees(register, old)", "rt_register_referees: old is empty, leave it out"),
    ],
)
def test_what_is_deprecated_is_told_once_and_still_works(package, monkeypatch, caplog, code, told):
    """One line that names the plugin and the way on; a strict host refuses it."""
    package(f"from rt_framework import hookimpl\n@hookimpl\ndef {code}: ...", "dated")
    host, strict = Host(), Host(strict=True)
    monkeypatch.setattr(loading, "_REGISTRATION", ("rt_register_judges", "rt_register_referees"))
    for one in (host, strict):
        one._loader.manager.add_hookspecs(OldSpecs)
    host.load()
    host.load()
    assert [record.getMessage() for record in caplog.records] == [f"plugin 'dated': {told}"]
    assert host.failed == []
    with pytest.raises(PluginError, match=told):
        strict.load()


def test_nothing_remains_of_a_plugin_that_fails_late(package):
    """All that the plugin had registered before it failed is removed, of every kind, and its name is free again."""
    late = metric() + "\n@hookimpl\ndef rt_register_reporters(register):\n    raise RuntimeError('late')\n"
    module = package(late, "late")
    host = Host()
    host.load()
    assert [entry for entry in host.registry.entries() if entry.plugin != "builtin"] == []
    assert not host._loader.manager.has_plugin("late")
    assert sys.modules[module] not in host._loader.manager.get_plugins()
    with pytest.raises(PluginError, match="unknown metric 'odd-metric'"):
        host.find("metrics", "odd-metric")


def test_a_target_that_cannot_be_imported_is_blamed_when_it_is_used(package):
    """Registering imports no target; using one that is broken names plugin and target."""
    package(metric(target="no_such_module_at_all:Metric"))
    host = Host()
    assert host.find("metrics", "odd-metric").target == "no_such_module_at_all:Metric"
    with pytest.raises(
        PluginError,
        match="metric 'odd-metric' of plugin 'odd' failed to load from no_such_module_at_all:Metric: ModuleNotFound",
    ):
        Builder(host)("metrics", "odd-metric")


def test_a_target_that_raises_when_built_is_blamed(package):
    """The exception of a plugin's constructor becomes one line with its name."""
    package(metric().replace("direction,", "def __init__(self): raise ValueError('no luck')\n    direction,"))
    with pytest.raises(PluginError, match="metric 'odd-metric' of plugin 'odd' failed to start: ValueError: no luck"):
        Builder(Host())("metrics", "odd-metric")


def test_a_part_that_exits_is_blamed_and_the_program_goes_on(package, site):
    """In its module or in its constructor: an exit would end the command without a word."""
    (site / "odd_exit.py").write_text("raise SystemExit(0)")
    package(metric("early", "odd_exit:Metric"), "early")
    package(metric("late").replace("direction,", "def __init__(self): raise SystemExit(0)\n    direction,"), "late")
    with pytest.raises(PluginError, match="'early' of plugin 'early' failed to load from odd_exit:Metric: SystemExit"):
        Builder(Host())("metrics", "early")
    with pytest.raises(PluginError, match="metric 'late' of plugin 'late' failed to start: SystemExit: 0"):
        Builder(Host())("metrics", "late")


def test_settings_may_be_named_by_their_place(package, site):
    """They are imported when they are read, as the target is."""
    (site / "odd_settings.py").write_text(
        "from attrs import frozen\n@frozen\nclass Odd:\n    size: int = 3\nnone = 1\n"
    )
    places = {"good": "Odd", "gone": "Even", "number": "none"}
    lines = "; ".join(f"register('{name}', 'm:M', settings='odd_settings:{at}')" for name, at in places.items())
    package(f"{HOOK}{lines}")
    host = Host()
    host.load()
    good, gone, number = (host.find("metrics", name) for name in places)
    assert "odd_settings" not in sys.modules
    assert [(option.name, option.shown) for option in good.options()] == [("size", "3")]
    with pytest.raises(
        PluginError, match="settings of metric 'gone' of plugin 'odd' failed to load from odd_settings:Even"
    ):
        gone.settings  # noqa: B018 - read
    with pytest.raises(PluginError, match="settings of 'number' are no attrs class: 1"):
        number.settings  # noqa: B018 - read


def test_an_older_minor_api_is_fine(package, monkeypatch):
    """Within a first number things are only added."""
    package(f"RT_PLUGIN_API = (2, 1)\n{metric()}")
    monkeypatch.setattr(pluggy_hooks, "API", (2, 2))
    host = Host()
    assert host.find("metrics", "odd-metric").plugin == "odd"
    assert host.api_of("odd") == "2.1"


def test_a_package_whose_metadata_is_gone_is_listed_without_it(package, site, cli):
    """The files that an interrupted uninstall leaves behind stop no command."""
    package(metric(), "left")
    (site / "rt_left-1.0.dist-info/METADATA").unlink()
    package(metric("other-metric"), "other")
    assert "left other rt-other 1.0" in cli("plugins", "list", plugin=False).words
    assert "plugin left, package" not in cli("plugins", "show", "left", plugin=False).words
    assert Host().find("metrics", "odd-metric").plugin == "left"


def test_an_unknown_name_says_what_is_near_and_what_exists():
    """No failed plugin, no word of one."""
    with pytest.raises(PluginError) as raised:
        Host(only=()).find("metrics", "idf")
    known = "echo, ifd, ifd-loss, length, loss, ppl, r-ifd, r-ifd-loss, r-ifd-novel"
    assert str(raised.value) == f"unknown metric 'idf'. Did you mean 'ifd'? Known: {known}."


def test_two_plugins_with_one_name_are_an_error_only_when_it_is_used(package):
    """Never the last, never the first: both are named, and leaving one out settles it."""
    package(metric("same"), "one")
    package(metric("same"), "two")
    host = Host()
    assert host.find("metrics", "ifd")
    host.load()
    assert host.registry.clashes() == [("metrics", "same", ["one", "two"])]
    with pytest.raises(PluginError, match="metric 'same' is offered by plugins 'one' and 'two'; leave one out with -p"):
        host.find("metrics", "same")
    assert Host(blocked=["two"]).find("metrics", "same").plugin == "one"


def test_a_plugin_cannot_take_the_name_of_a_builtin(package):
    """The plugin fails when it is loaded, naming both; it does not replace the built-in metric, nor hide behind it."""
    package(metric("ifd"))
    host = Host()
    assert host.find("metrics", "ifd").plugin == "builtin"
    host.load()
    (failed,) = map(str, host.failed)
    assert failed.startswith(
        "plugin 'odd' 1.0 failed in register: PluginError: it offers the metric 'ifd', which is the"
    )
    with pytest.raises(PluginError, match="it offers the metric 'ifd'"):
        Host(strict=True).find("metrics", "loss")


def test_a_command_that_names_builtins_only_imports_no_plugin(package):
    """An installed plugin costs no time and can break nothing until something is named that is not built in."""
    package("raise RuntimeError", "bad")
    host = Host()
    assert [host.find(kind, name).plugin for kind, name in (("metrics", "ifd"), ("stages", "gate"))] == ["builtin"] * 2
    assert host.failed == []
    with pytest.raises(PluginError, match="unknown metric 'odd'"):
        host.find("metrics", "odd")
    assert [failed.plugin for failed in host.failed] == ["bad"]


def test_an_installed_plugin_that_is_named_as_a_module_keeps_its_name(package):
    """So that a manifest tells its package and version."""
    host = Host(modules=[package(metric())])
    assert host.find("metrics", "ifd")
    assert host.find("metrics", "odd-metric").plugin == "odd"


def test_two_packages_with_one_plugin_name_are_told_apart(package):
    """The second is not loaded in the place of the first, and the reason says so."""
    package(metric("one"), "same", dist="a-package")
    package(metric("two"), "same", dist="b-package", version="7.0")
    host = Host()
    assert host.find("metrics", "one")
    with pytest.raises(PluginError, match=r"plugin 'same' 7\.0 failed in hooks: .* another plugin is called 'same'"):
        host.find("metrics", "two")


def test_one_module_under_two_names_is_loaded_once(package):
    """An installed plugin that is named with -p as well offers each name once."""
    module = package(metric())
    host = Host(modules=[module])
    assert host.find("metrics", "odd-metric").plugin == "odd"
    assert host.failed == []


def test_a_module_named_by_the_user_must_load():
    """To name a module is to use it."""
    with pytest.raises(PluginError, match="plugin 'no_such_thing' failed in import: ModuleNotFoundError"):
        Host(modules=["no_such_thing"]).find("metrics", "ifd")


def test_a_blocked_plugin_is_neither_loaded_nor_listed(package):
    """-p no:NAME: not even imported."""
    package("raise RuntimeError", "bad")
    package(metric(), "good")
    host = Host(blocked=["bad"])
    assert host.find("metrics", "odd-metric")
    assert host.failed == []
    assert [plugin.name for plugin in host.discovered()] == ["good"]


@pytest.mark.parametrize(("value", "loaded"), [("", []), ("b", ["b"]), ("a, c", ["a", "c"]), (None, ["a", "b", "c"])])
def test_rt_load_plugins_says_which_to_load(package, monkeypatch, cli, value, loaded):
    """Empty means none, unset means all; the built-in plugin is there in any case."""
    for name in "abc":
        package(metric(f"{name}-metric"), name)
    if value is not None:
        monkeypatch.setenv("RT_LOAD_PLUGINS", value)
    done = cli("plugins", "list", plugin=False)
    assert [name for name in "abc" if f" {name} rt-{name} 1.0" in done.words] == loaded
    assert "metric ifd" in done.words
    for name in "abc":
        shown = cli("plugins", "show", f"{name}-metric", plugin=False)
        assert shown.code == (0 if name in loaded else 2)


def test_plugins_load_in_a_fixed_order(package, site):
    """By name, whatever the order of the file system; modules of the command line after them, as given."""
    for name in ("zeta", "alpha", "midst"):
        package(metric(f"{name}-metric"), name)
    for module in ("named_b", "named_a"):
        (site / f"{module}.py").write_text(metric(f"{module}-metric"))
    host = Host(modules=["named_b", "named_a"])
    host.load()
    plugins = [str(host._loader.manager.get_name(plugin)) for plugin in host._loader.manager.get_plugins()]
    order = [name for name, _ in host._loader.manager.list_name_plugin()]
    assert order == ["builtin", "alpha", "midst", "zeta", "named_b", "named_a"]
    assert sorted(plugins) == sorted(order)


def test_builtins_are_there_before_any_plugin_is_imported(package):
    """And come through the same door: entries of a plugin called builtin, of every kind."""
    module = package(metric())
    host = Host()
    assert {entry.kind for entry in host.registry.entries()} == set(KINDS)
    assert {entry.plugin for entry in host.registry.entries()} == {"builtin"}
    assert module not in sys.modules
    host.find("metrics", "ifd")
    assert module not in sys.modules
    host.load()
    assert module in sys.modules


def test_listing_imports_nothing(package, tmp_path):
    """Names, packages and versions come from metadata; a plugin that would raise is listed as any other."""
    trace = tmp_path / "imported"
    package(f"open({str(trace)!r}, 'w').close()\nraise RuntimeError", "bad", version="9.9")
    done = rt("plugins", "list", cwd=tmp_path, path=[tmp_path / "site"])
    assert done.code == 0
    assert "bad rt-bad 9.9" in done.words
    assert not trace.exists()
    assert done.err == ""


def test_showing_a_plugin_imports_that_one_alone(package, cli):
    """Its parts are listed; the others stay untouched."""
    shown, other = package(metric(), "shown"), package(metric("other-metric"), "other")
    done = cli("plugins", "show", "shown", plugin=False)
    assert "metric odd-metric: odd from plugin shown, " in done.words
    assert shown in sys.modules
    assert other not in sys.modules


def test_showing_a_broken_plugin_says_why(package, cli):
    """In one line; a part of another plugin is still found."""
    module = package("x = 1\nraise RuntimeError", "broken")
    package(metric(), "good")
    error = the_error(cli("plugins", "show", "broken", plugin=False))
    assert re.fullmatch(rf"plugin 'broken' 1\.0 failed in import: RuntimeError \(at .*\b{module}\.py:2\)", error)
    assert "metric odd-metric: odd from plugin good" in cli("plugins", "show", "odd-metric", plugin=False).words


def test_doctor_names_broken_plugins_and_clashes(package, cli):
    """A run would meet a broken plugin or a clash only when it uses them, so the doctor looks for both."""
    package("raise RuntimeError('gone')", "bad")
    package(metric("same"), "taker")
    package(metric("same"), "other")
    package(metric("ifd"), "grasping")
    done = cli("doctor", plugin=False)
    assert done.code == 2
    assert "WRONG plugin bad plugin 'bad' 1.0 failed in import: RuntimeError: gone" in done.words
    assert "ok plugin taker rt-taker 1.0" in done.words
    assert "WRONG metric same offered by other and taker" in done.words
    assert (
        "WRONG plugin grasping plugin 'grasping' 1.0 failed in register: PluginError: it offers the metric"
        in done.words
    )
    assert "3 marked WRONG" in done.words


# --- reporters --------------------------------------------------------------------------------


class _Noting:
    def __init__(self) -> None:
        self.seen: list[object] = []

    @hookimpl
    def rt_progress(self, event: object) -> None:
        self.seen.append(event)


class _Raising(_Noting):
    @hookimpl
    def rt_progress(self, event: object) -> None:
        self.seen.append(event)
        raise RuntimeError("no more")


def test_a_reporter_that_raises_is_left_out_and_the_others_go_on(caplog):
    """It is told nothing any more, it is named once, and nobody before or after it misses an event."""
    first, bad, last = _Noting(), _Raising(), _Noting()
    reporters = Host(only=()).reporters([first, bad, last])
    for number in range(3):
        reporters.send("rt_progress", number)
    assert first.seen == last.seen == [0, 1, 2]
    assert bad.seen == [0]
    (line,) = reporters.failed
    assert re.fullmatch(
        r"reporter _Raising failed and is left out: RuntimeError: no more \(at .*test_host\.py:\d+\)", line
    )
    assert [record.getMessage() for record in caplog.records] == reporters.failed


def _misspelt() -> object:
    class Bad:
        @hookimpl
        def rt_run_startd(self, event: object) -> None: ...

    return Bad()


def _unmarked() -> object:
    class Bad(_Noting):
        def rt_run_started(self, event: object) -> None: ...

    return Bad()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_misspelt, "reporter Bad cannot be used: unknown hook 'rt_run_startd'. Did you mean 'rt_run_started'?"),
        (_unmarked, "reporter Bad cannot be used: hook 'rt_run_started' is not marked with @hookimpl"),
        (object, "reporter object cannot be used: no hook found"),
    ],
)
def test_a_reporter_that_would_be_told_nothing_is_refused(make, message):
    """A misspelt or unmarked hook would be silent for ever."""
    with pytest.raises(PluginError) as raised:
        Host(only=()).reporters([make()])
    assert message in str(raised.value)


class OldEvents:
    """An event on its way out."""

    @_spec(warn_on_impl=DeprecationWarning("rt_judged: rt_progress tells it"))
    def rt_judged(self, event): ...


def test_a_deprecated_event_is_told_once_and_still_sent(monkeypatch, caplog):
    """With the reporter's name; a strict host refuses it."""

    class Dated(_Noting):
        @hookimpl
        def rt_judged(self, event: object) -> None:
            self.seen.append(event)

    def manager(specs: type) -> pluggy.PluginManager:
        made = make_manager(specs)
        made.add_hookspecs(OldEvents)
        return made

    make_manager = pluggy_hooks.manager_of
    for module in (loading, reporters):
        monkeypatch.setattr(module, "manager_of", manager)
    monkeypatch.setattr(reporters, "_EVENTS", (*reporters._EVENTS, "rt_judged"))
    dated = Dated()
    Host(only=()).reporters([dated]).send("rt_judged", 1)
    assert dated.seen == [1]
    assert [record.getMessage() for record in caplog.records] == ["reporter Dated: rt_judged: rt_progress tells it"]
    with pytest.raises(PluginError, match="reporter Dated cannot be used: rt_judged: rt_progress tells it"):
        Host(only=(), strict=True).reporters([dated])


# --- commands of plugins ----------------------------------------------------------------------

COMMAND = """
import click

@click.command()
@click.argument("word")
def hello(word):
    click.echo(f"hello {word}")
"""


def _command(site, code: str, target: str, name: str = "hello", dist: str = "rt-hello") -> str:
    module = f"odd_command_{next(_unique)}"
    install(site, dist, {module: code}, {name: f"{module}:{target}"}, group="rt_framework.commands")
    return module


def test_a_command_of_a_plugin_is_listed_without_its_import_and_runs_when_called(site, cli):
    """With the package that it comes from."""
    module = _command(site, COMMAND, "hello")
    listed = cli("--help", plugin=False)
    assert "Commands of plugins: hello from rt-hello" in listed.words
    assert module not in sys.modules
    done = cli("hello", "world", plugin=False)
    assert (done.code, done.out) == (0, "hello world\n")
    assert "Missing argument 'WORD'. See 'rt hello --help'." in the_error(cli("hello", plugin=False))


@pytest.mark.parametrize(
    ("code", "target", "message"),
    [
        ("raise RuntimeError('oh no')", "hello", "RuntimeError: oh no"),
        ("raise SystemExit(0)", "hello", "SystemExit: 0"),
        (COMMAND, "helo", "AttributeError"),
        ("hello = 3", "hello", "is no Click command"),
    ],
)
def test_a_broken_command_is_one_clear_line_and_breaks_no_other(site, cli, code, target, message):
    """With its name, its package and its fault."""
    _command(site, code, target)
    error = the_error(cli("hello", "world", plugin=False))
    assert "command 'hello' of package 'rt-hello'" in error
    assert message in error
    assert cli("--help", plugin=False).code == 0
    assert cli("plugins", "list", plugin=False).code == 0


def test_a_command_that_fails_is_named(site, cli):
    """One line with its package and the line of its code, and a usage error stays one."""
    code = COMMAND.replace('click.echo(f"hello {word}")', "int(word)")
    module = _command(site, code, "hello")
    assert cli("hello", "3", plugin=False).code == 0
    error = the_error(cli("hello", "world", plugin=False))
    assert error.startswith("command 'hello' of package 'rt-hello' failed: ValueError: invalid literal for int()")
    assert error.endswith(f"{module}.py:7)")


def test_a_command_that_two_packages_offer_is_an_error_when_called(site, cli):
    """Both are named."""
    _command(site, COMMAND, "hello", dist="rt-one")
    _command(site, COMMAND, "hello", dist="rt-two")
    error = the_error(cli("hello", "x", plugin=False))
    assert error == "command 'hello' is offered by packages 'rt-one' and 'rt-two'; uninstall one of them"


def test_a_plugin_cannot_replace_a_command_of_ours(site, cli):
    """The command run stays ours."""
    module = _command(site, COMMAND, "hello", name="run")
    assert "CONFIG" in cli("run", "--help", plugin=False).out
    assert module not in sys.modules
