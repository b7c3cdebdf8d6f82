"""Settings classes as plugins may write them: whatever is given for them is taken, or refused in one line."""

from __future__ import annotations

import re
import sys

import pytest
from attrs import define, field, frozen

from rt_framework.config.builder import settings
from rt_framework.errors import ConfigError
from rt_framework.plugin.registry import Entry
from rt_framework.testing.contracts.base import outcome


@frozen
class NoField:
    """A settings class that a plugin left empty."""


@frozen
class Private:
    """Written without the underscore, as the class is called."""

    _depth: int = 3


@frozen
class Computed:
    """A field before the others that is no option."""

    twice: int = field(init=False, default=6)
    depth: int = 3


@frozen
class OnlyComputed:
    """No option at all."""

    twice: int = field(init=False, default=6)


@frozen(kw_only=True)
class Keyword:
    depth: int = 3


@frozen
class Renamed:
    """The key is the alias."""

    deep: int = field(default=3, alias="depth")


@define(init=False)
class OwnInit:
    """Cannot be called with its own field."""

    depth: int = 3

    def __init__(self) -> None:
        self.depth = 3


@frozen
class Unresolved:
    depth: NoSuchType = 3  # noqa: F821 - that is the fault


@frozen
class Crashing:
    depth: int = field(default=3)

    @depth.validator
    def _check(self, _attribute, _value):
        raise ZeroDivisionError("a validator with a fault")


@frozen
class Exiting:
    depth: int = field(default=3, converter=sys.exit)


def entry(cls):
    """Return the entry of a selector that is registered with that settings class."""
    return Entry("selectors", "odd", "odd:make", "", cls, "odd")


USABLE = [Private, Computed, Keyword, Renamed]
WITHOUT_OPTIONS = [NoField, OnlyComputed]
FAULTY = [OwnInit, Unresolved, Crashing, Exiting]
GIVEN = ["text", 3, 0.5, True, [1], {}, {"depth": 3}, {"dept": 3}, {"twice": 1}, {"_depth": 1}, {"deep": 1}, {1: 2}]


@pytest.mark.parametrize("options", GIVEN, ids=str)
@pytest.mark.parametrize("cls", [*USABLE, *WITHOUT_OPTIONS, *FAULTY])
def test_whatever_a_settings_class_is_like_options_are_taken_or_refused_in_one_line(cls, options):
    """Never a crash: a class without fields, with private or computed ones, or with a fault of its own."""
    made = outcome(settings, entry(cls), options)
    taken = isinstance(made, cls)
    assert taken or (made[0] is ConfigError and re.fullmatch(r"selector 'odd'.+", made[1]))
    assert cls in FAULTY or taken is (options == {} or (cls in USABLE and options in (3, {"depth": 3})))


@pytest.mark.parametrize("cls", USABLE)
def test_an_option_has_one_name_in_configs_and_on_the_command_line(cls):
    """A private field is written without its underscore, and what the class computes is no option."""
    assert [option.name for option in entry(cls).options()] == ["depth"]
    with pytest.raises(ConfigError, match=r"^selector 'odd'\.depth: expected a whole number, not 'x'$"):
        settings(entry(cls), {"depth": "x"})


@pytest.mark.parametrize("cls", [None, *WITHOUT_OPTIONS])
def test_a_part_without_options_says_so(cls):
    """With an empty settings class as without one; a key among them is not shown."""
    with pytest.raises(ConfigError, match=r"^selector 'odd' takes no options, but got 'ifd'$"):
        settings(entry(cls), "ifd")
    with pytest.raises(ConfigError, match="keys come only from the environment") as raised:
        settings(entry(cls), {"api_key": "canary"})
    assert "canary" not in str(raised.value)
