"""The checks that every contract makes, and the functions that run the checks of a contract."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar
from unittest import SkipTest

from attrs import frozen

from rt_framework.config import Builder
from rt_framework.errors import ConfigError, PluginError, RtError, described
from rt_framework.hookspecs import singular
from rt_framework.plugin import Entry, Host, field_names, with_defaults
from rt_framework.testing.processes import forked

HEAVY = ("torch", "transformers", "litellm", "datasets", "numpy", "sentence_transformers", "ray")
"""Libraries that a plugin must import only where it uses them, never when the plugin is loaded."""

_LOOK = """\
import importlib, json, sys
importlib.import_module(sys.argv[1])
print("\\n" + json.dumps(sorted(set(sys.argv[2:]) & set(sys.modules))))
"""


_ELSEWHERE = """\
import json, sys
from rt_framework.testing import contracts
contract, method, own = json.loads(sys.argv[1])
made = type("Elsewhere", (getattr(contracts, contract),), own)()
print("\\n" + json.dumps(getattr(made, method)()))
"""


class PluginContract:
    """Contract of a plugin of any kind. Subclass it, or the contract of one kind, in a test module.

    A check is a method ``test_*`` that takes at most ``tmp_path``. A check that cannot be made raises
    :class:`unittest.SkipTest` with the reason, which pytest understands.
    """

    plugin: ClassVar[str]
    """The module to load as a plugin, or the name of an installed one; ``builtin`` for the plugin in this package."""
    kind: ClassVar[str]
    """The kind as hooks name it, such as ``metrics``. The contract of each kind sets it."""
    name: ClassVar[str]
    """The registered name of the part to check."""
    options: Any = None
    """Options of the part as in a config, if it needs some."""

    # --- what checks build on ---------------------------------------------------------------

    def host(self, *beside: str) -> Host:
        """Return a host with this plugin, the built-in one, and the modules *beside*.

        Raises:
            SkipTest: the plugin does not load.
        """
        try:
            return load(self.plugin, *beside)
        except PluginError as error:
            raise SkipTest(f"the plugin does not load: {error}") from None

    def entry(self) -> Entry:
        """Return the entry that the plugin registered under the name.

        Raises:
            SkipTest: the plugin registered no such name.
        """
        entries = [entry for entry in self.host().registry.offered(self.kind, self.name) if entry.plugin == self.plugin]
        if not entries:
            raise SkipTest(f"'{self.name}' is not registered")
        return entries[0]

    def make(self, options: Any = None) -> Any:
        """Return a new object of the part, built with the author's options or other ones.

        Raises:
            SkipTest: the object cannot be built.
        """
        entry = self.entry()
        try:
            return Builder(self.host())(self.kind, entry.name, self.options if options is None else options)
        except RtError as error:
            raise SkipTest(f"it cannot be built: {error}") from None

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of this contract, for another process."""
        return {"plugin": self.plugin, "name": self.name, "options": self.options}

    def elsewhere(self, method: str) -> Any:
        """Return a contract method's result in a fresh process, where texts have other hashes and sets other orders.

        Raises:
            SkipTest: the method fails there.
        """
        contract = next(base.__name__ for base in type(self).__mro__ if base.__module__.startswith(__package__ or ""))
        return json.loads(fresh(_ELSEWHERE, json.dumps([contract, method, self.attributes()])))

    # --- checks -----------------------------------------------------------------------------

    def test_it_loads(self) -> None:
        """The plugin can be imported, and all its hooks have known names and the mark ``@hookimpl``."""
        if any(_defaults(self.plugin)):
            raise SkipTest("a hook has a default argument")
        try:
            load(self.plugin)
        except PluginError as error:
            raise AssertionError(f"expected a plugin that loads, found: {error}") from error

    def test_hooks_have_no_default_arguments(self) -> None:
        """No argument of a hook has a default: pluggy passes only those without one."""
        for hook, arguments in _defaults(self.plugin):
            raise AssertionError(f"{hook} has a default for '{arguments[0]}', so it is never passed; write it without")

    def test_importing_it_is_cheap(self) -> None:
        """Loading the plugin imports no heavy library, because ``rt --help`` loads it too."""
        module = module_of(self.plugin).partition(":")[0]
        loaded = loaded_by(module)
        assert not loaded, (
            f"importing {module} imports {', '.join(loaded)}; import it inside the function that uses it, "
            "and keep hooks and settings in a module of their own"
        )

    def test_its_name_is_registered(self) -> None:
        """The name is registered under its kind."""
        entries = [entry for entry in self.host().registry.entries() if entry.plugin == self.plugin]
        names = [f"{singular(entry.kind)} '{entry.name}'" for entry in entries]
        assert any(entry.kind == self.kind and entry.name == self.name for entry in entries), (
            f"expected {singular(self.kind)} '{self.name}' of '{self.plugin}', found {', '.join(names) or 'nothing'}; "
            f"register it in rt_register_{self.kind}"
        )

    def test_it_has_a_help_text(self) -> None:
        """The part has a help text for ``rt plugins show``."""
        text = self.entry().help
        assert text.strip() and "\n" not in text, f"expected help= of one line at register, found {text!r}"

    def test_it_is_built_from_its_options(self) -> None:
        """The target can be imported and called with the options."""
        entry = self.entry()
        try:
            built = Builder(self.host())(entry.kind, entry.name, self.options)
        except RtError as error:
            raise AssertionError(
                f"expected a {singular(entry.kind)} built from {self.options!r}, found: {error}"
            ) from error
        assert built is not None, f"{entry.target} returned None; return the object from it"

    def test_its_options_can_be_shown(self) -> None:
        """``rt plugins show`` and the command line can read its settings class."""
        try:
            self.entry().options()
        except PluginError as error:
            raise AssertionError(f"{error}; the types of its fields and their defaults have to be there") from error

    def test_unknown_options_are_refused(self) -> None:
        """A misspelt option is an error that names the nearest known option."""
        entry = self.entry()
        names = [] if entry.settings is None else field_names(entry.settings)
        wrong = f"{names[0]}x" if names else "no_such_option"
        given = self.options if isinstance(self.options, Mapping) else dict(zip(names, [self.options], strict=False))
        known = {} if len(names) == 1 else {key: value for key, value in given.items() if value is not None}
        try:
            Builder(self.host())(entry.kind, entry.name, {**known, wrong: 1})
        except (ConfigError, PluginError) as error:
            message = str(error)
        else:
            raise AssertionError(
                f"option '{wrong}' was accepted silently; give register() a frozen attrs class with a field for each"
            )
        # With a single option, a mapping without its name is taken as its value, so no name can be suggested.
        assert len(names) < 2 or f"'{names[0]}'" in message, (
            f"option '{wrong}' was refused without naming '{names[0]}': {message}; "
            "give register() a frozen attrs class and leave the refusal to the framework"
        )


class ColumnContract(PluginContract):
    """Checks of a part that may read columns of the data."""

    columns: Mapping[str, Sequence[Any]] = MappingProxyType({})
    """Values of the columns that need others than the texts of the kit, taken in turn; values as JSON has them."""

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of this contract, for another process."""
        return {**super().attributes(), "columns": dict(self.columns)}

    def extra_of(self, row: int) -> dict[str, Any]:
        """Return the values of the columns that the part declares, in a row; texts repeat after three rows."""
        declared = getattr(self.make(), "columns", ())
        names = [declared] if isinstance(declared, str) else declared
        turns = {name: self.columns.get(name) or [f"{name} {number}" for number in range(3)] for name in names}
        return {name: values[row % len(values)] for name, values in turns.items()}

    def test_columns_are_names(self) -> None:
        """``columns``, if it is there, lists names of columns."""
        columns = getattr(self.make(), "columns", ())
        good = not isinstance(columns, str) and all(isinstance(name, str) and name for name in columns)
        assert good, f"expected columns to list names of columns, found {columns!r}; a text alone is no list"


# --- loading ------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def load(plugin: str, *beside: str) -> Host:
    """Return a strict host that has loaded one plugin, the built-in one, and the modules *beside*.

    Raises:
        PluginError: one of the plugins failed to load.
    """
    installed = _module(plugin) is not None
    modules = [*beside] if installed or plugin == "builtin" else [plugin, *beside]
    host = Host(only=[plugin] if installed else [], modules=modules, strict=True)
    host.load()
    return host


def module_of(plugin: str) -> str:
    """Return the module from which a plugin is loaded, with ``:ATTRIBUTE`` if its entry point names one."""
    return _module(plugin) or ("rt_framework.builtin.hooks" if plugin == "builtin" else plugin)


@lru_cache
def _module(plugin: str) -> str | None:
    """Return the module of an installed plugin; ``None`` if no plugin of that name is installed."""
    return next((discovered.module for discovered in Host(only=[plugin]).discovered()), None)


def _defaults(plugin: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the hooks of a plugin that have arguments with a default, and the names of these arguments."""
    name, _, attribute = module_of(plugin).partition(":")
    try:
        hooks: Any = import_module(name)
        for part in attribute.split(".") if attribute else ():
            hooks = getattr(hooks, part)
    except Exception as error:
        raise SkipTest(f"the plugin does not load: {error}") from None
    for hook in (name for name in dir(hooks) if name.startswith("rt_")):
        arguments = with_defaults(function) if inspect.isroutine(function := getattr(hooks, hook)) else []
        if arguments:
            yield hook, arguments


def fresh(code: str, *arguments: str) -> str:
    """Return the last line that *code* prints in another process, which has loaded no plugin.

    Raises:
        SkipTest: the code fails there.
    """
    done = forked(code, *arguments)
    if done.returncode:
        raise SkipTest(f"it fails in a fresh process: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout.splitlines()[-1]


@lru_cache
def loaded_by(module: str) -> tuple[str, ...]:
    """Return the heavy libraries that are imported along with a module, found in a fresh process."""
    return tuple(json.loads(fresh(_LOOK, module, *HEAVY)))


# --- running ------------------------------------------------------------------------------------


@frozen
class Outcome:
    """Outcome of one check."""

    check: str
    status: str
    """``ok``, ``failed`` or ``skipped``."""
    reason: str = ""


def checks(contract: type[PluginContract]) -> list[str]:
    """Return the names of all checks of a contract in source order, those of :class:`PluginContract` first."""
    owners = [owner for owner in reversed(contract.__mro__) if owner is not object]
    return list(dict.fromkeys(name for owner in owners for name in vars(owner) if name.startswith("test_")))


def run_checks(contract: type[PluginContract], where: Path) -> list[Outcome]:
    """Run every check of a contract, each with a directory of its own in *where*."""
    return [_run(contract(), check, where / check) for check in checks(contract)]


def _run(subject: PluginContract, check: str, folder: Path) -> Outcome:
    method: Callable[..., None] = getattr(subject, check)
    folder.mkdir(parents=True)
    try:
        method(*[folder for _ in inspect.signature(method).parameters])
    except SkipTest as reason:
        return Outcome(check, "skipped", str(reason))
    except AssertionError as error:
        return Outcome(check, "failed", str(error))
    except Exception as error:
        return Outcome(check, "failed", described(error))
    return Outcome(check, "ok")


def outcome(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of *work*, or type and text of its exception, so that two calls can be compared."""
    try:
        return work(*arguments)
    except Exception as error:
        return type(error), str(error)
