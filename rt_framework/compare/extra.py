"""The packages of the extra ``compare``, which an installation of the framework alone does not bring."""

from __future__ import annotations

from importlib.util import find_spec

from rt_framework.errors import ConfigError

_PACKAGES = ("datasketch", "py3langid")


def check_extra() -> None:
    """Check that the packages which a comparison needs are installed. None is imported.

    Raises:
        ConfigError: one is missing; the message has the command that installs it.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"'rt compare' needs {' and '.join(missing)}: pip install 'rt-framework[compare]'")
