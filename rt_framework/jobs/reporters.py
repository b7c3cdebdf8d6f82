"""The life of a command's reporters around its work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rt_framework.config import Builder
from rt_framework.kit.parts import Spec
from rt_framework.kit.stdout import others_to_stderr
from rt_framework.plugin import Host, close_reporters


@contextmanager
def watching(host: Host, specs: Iterable[Spec], more: Iterable[object] = ()) -> Iterator[list[Any]]:
    """Build reporters, and close them after the block, so that they always restore the terminal.

    Inside the block only reporters write to standard output; all other output goes to standard error. Print results
    after the block.

    Raises:
        PluginError: a reporter is unknown or cannot be built.
        ConfigError: the options of a reporter do not fit its settings.
    """
    make = Builder(host)
    with others_to_stderr():
        watchers = [make.spec("reporters", spec) for spec in specs]
        try:
            yield [*watchers, *more]
        finally:
            close_reporters(watchers)
