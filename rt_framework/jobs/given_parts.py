"""Parts that a Python program gives as objects, in the places where a config names a part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rt_framework.errors import ConfigError
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host


def metrics_in(metrics: Any) -> tuple[tuple[str, ...], dict[str, Spec]]:
    """Return the names of metrics, and those that are more than a name by their names.

    Raises:
        ConfigError: a metric that is given as an object has no name.
    """
    if isinstance(metrics, Mapping):
        return tuple(metrics), {name: Spec.parse(one) for name, one in metrics.items()}
    names, options = [], {}
    for one in metrics:
        if isinstance(one, Spec):
            name = getattr(one.options.part, "name", None)
            if not isinstance(name, str):
                raise ConfigError(f"metric {one.name} has no attribute 'name'; give {{NAME: METRIC}} instead")
            options[name] = one
            names.append(name)
        else:
            names.append(one)
    return tuple(names), options


def with_parts(host: Host, value: object) -> Any:
    """Return plain values in which every object stands as a part that is named by its class.

    Raises:
        ConfigError: a class is given in place of an object of it.
    """
    if value is None or isinstance(value, str | int | float | Spec):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: with_parts(host, inner) for key, inner in value.items()}
    if isinstance(value, type):
        raise ConfigError(f"{value.__name__} is a class: give an object of it, {value.__name__}(…)")
    if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "state_dict"):
        return Spec.of(host.find("students", "hf").load().holding(*value))
    if isinstance(value, list | tuple):
        return [with_parts(host, inner) for inner in value]
    return Spec.of(value)
