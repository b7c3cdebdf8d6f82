"""Other run directories, whose paid answers a run uses too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rt_framework.errors import ConfigError
from rt_framework.ledger import Ledger
from rt_framework.rundir.directory import LEDGER, is_place, look


@contextmanager
def looking_elsewhere(paths: Iterable[str]) -> Iterator[dict[Path, Ledger]]:
    """Yield the ledgers of other run directories by path, opened to read only.

    Raises:
        ConfigError: a path is no run directory.
        DiskError: a ledger is damaged.
    """
    with ExitStack() as stack:
        ledgers = {}
        for path in map(Path, paths):
            if not (path / LEDGER).is_file():
                raise ConfigError(f"answers: {path} is no run directory; it has no {LEDGER}")
            ledgers[path] = stack.enter_context(look(path))
        yield ledgers


def check_elsewhere(ledgers: Mapping[Path, Ledger], facts: Mapping[str, object], moved: bool = False) -> None:
    """Check that each teacher was asked in other run directories where it is asked now.

    Args:
        ledgers: the ledgers of the other run directories, by path.
        facts: the frozen facts of the run.
        moved: whether the teachers may have been asked at other places.

    Raises:
        ConfigError: a teacher was asked at another place.
    """
    ours = _places(facts)
    for path, ledger in ledgers.items() if not moved else ():
        theirs = _places(ledger.meta("frozen") or {})
        for teacher, place in ours.items():
            other = theirs.get(teacher, place)
            if other != place:
                raise ConfigError(
                    f"answers: {path} asked {teacher} at {other}, and this run asks it at {place}; if only the server "
                    "has moved and the model is the same, give --moved"
                )


def _places(facts: Mapping[str, object]) -> dict[object, object]:
    """Return the place of each teacher that has one, by the teacher's identity."""
    return {facts.get(f"teacher{name.removeprefix('place')}"): facts[name] for name in facts if is_place(name)}
