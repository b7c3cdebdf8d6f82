"""The hooks: registration hooks, by which plugins offer their parts, and event hooks, which inform reporters.

A plugin is a module (or object) with functions marked :data:`hookimpl`. Registration hooks say what exists, by name;
nothing that is merely installed changes data. Event hooks only watch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from rt_framework import events

GROUP = "rt_framework"
"""Entry-point group, pluggy project name and prefix of everything that finds plugins."""

API = (2, 0)
"""Version of the plugin interface: hooks, protocols and the data that they exchange. The first number changes when
a plugin could break, the second when something is added."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Register(Protocol):
    """The function that a plugin calls to offer something under a name."""

    def __call__(self, name: str, target: str, *, help: str = "", settings: type | str | None = None) -> None:
        """Register one name.

        Args:
            name: what users write in a config or on the command line.
            target: ``"package.module:Attribute"``; imported at first use, never before.
            help: one line for ``rt plugins show``.
            settings: frozen attrs class of the options, or its place, ``"package.module:Class"``, imported at first
                use; the target is then called with one instance of it.

        Raises:
            PluginError: the name, target or settings cannot be used.
        """


class RegistrationHooks:
    """The registration hooks, one for each kind of plugin. Called once, when the plugin is loaded."""

    @hookspec
    def rt_register_teachers(self, register: Register) -> None:
        """Offer teachers: see :class:`rt_framework.protocols.Teacher` and ``LocalTeacher``."""

    @hookspec
    def rt_register_students(self, register: Register) -> None:
        """Offer students: see :class:`rt_framework.protocols.Student`."""

    @hookspec
    def rt_register_metrics(self, register: Register) -> None:
        """Offer metrics: see :class:`rt_framework.protocols.Metric`."""

    @hookspec
    def rt_register_selectors(self, register: Register) -> None:
        """Offer selectors: see :class:`rt_framework.protocols.Selector` and ``DatasetSelector``."""

    @hookspec
    def rt_register_reflections(self, register: Register) -> None:
        """Offer reflections: see :class:`rt_framework.protocols.Reflection`."""

    @hookspec
    def rt_register_templates(self, register: Register) -> None:
        """Offer templates: see :class:`rt_framework.protocols.Template`."""

    @hookspec
    def rt_register_formats(self, register: Register) -> None:
        """Offer formats: see :class:`rt_framework.protocols.Format`."""

    @hookspec
    def rt_register_stages(self, register: Register) -> None:
        """Offer stages: see :class:`rt_framework.protocols.Stage` and ``DatasetStage``."""

    @hookspec
    def rt_register_executors(self, register: Register) -> None:
        """Offer executors: see :class:`rt_framework.protocols.Executor`."""

    @hookspec
    def rt_register_reporters(self, register: Register) -> None:
        """Offer reporters: objects with any of the :class:`EventHooks`, marked :data:`hookimpl`."""


class EventHooks:
    """The hooks that a reporter may implement. Called in the driver process; must return quickly.

    A reporter that raises is reported once and left out for the rest of the run.
    """

    @hookspec
    def rt_preparing(self, event: events.Preparing) -> None:
        """Receive the event that the job does something that may take a while, before it is started."""

    @hookspec
    def rt_run_started(self, event: events.RunStarted) -> None:
        """Receive the event that the configuration is valid and the ledger is open; no sample has been read yet."""

    @hookspec
    def rt_stage_started(self, event: events.StageStarted) -> None:
        """Receive the event that the first sample reached a stage."""

    @hookspec
    def rt_stage_finished(self, event: events.StageFinished) -> None:
        """Receive the event that the last sample left a stage."""

    @hookspec
    def rt_progress(self, event: events.Progress) -> None:
        """Receive the counts so far, at most a few times a second; at least once a second, also if nothing finished."""

    @hookspec
    def rt_sample_failed(self, event: events.SampleFailed) -> None:
        """Receive the event that a sample met a failure."""

    @hookspec
    def rt_sample_finished(self, event: events.SampleFinished) -> None:
        """Receive the event that a sample is done."""

    @hookspec
    def rt_stalled(self, event: events.Stalled) -> None:
        """Receive the event that the run made no progress for a minute; sent again each time that span has doubled."""

    @hookspec
    def rt_batch_changed(self, event: events.BatchChanged) -> None:
        """Receive the event that questions went to the provider in a batch, or came back."""

    @hookspec
    def rt_run_stopping(self, event: events.RunStopping) -> None:
        """Receive the event that the run ends early, and that calls under way are waited for."""

    @hookspec
    def rt_run_failed(self, event: events.RunFailed) -> None:
        """Receive the event that the run ended with an error, or was interrupted, perhaps before it was started."""

    @hookspec
    def rt_run_finished(self, event: events.RunFinished) -> None:
        """Receive the event that outputs are written and the ledger is complete."""


KINDS = tuple(name.removeprefix("rt_register_") for name in vars(RegistrationHooks) if name.startswith("rt_"))
"""Names of the plugin kinds, as their registration hooks name them."""

_SINGULAR = {
    "teachers": "teacher",
    "students": "student",
    "metrics": "metric",
    "selectors": "selector",
    "reflections": "reflection",
    "templates": "template",
    "formats": "format",
    "stages": "stage",
    "executors": "executor",
    "reporters": "reporter",
}


def singular(kind: str) -> str:
    """Return the word for one plugin of a kind: ``metric`` for ``metrics``."""
    return _SINGULAR[kind]
