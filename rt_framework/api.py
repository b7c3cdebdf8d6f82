"""The functions for Python programs and notebooks: run a job, or score rows, with parts given by name or as objects."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict, Unpack
from weakref import finalize

from attrs import evolve, frozen

from rt_framework.concurrency import OwnThread, completed
from rt_framework.config import Config, ScoringConfig, Shard, read_config
from rt_framework.config import Data as DataConfig
from rt_framework.data import IN_MEMORY, Source, open_source, rows_source, to_dataset, to_pandas
from rt_framework.errors import ConfigError
from rt_framework.jobs.given_parts import metrics_in, with_parts
from rt_framework.jobs.reporters import watching
from rt_framework.jobs.running import RunMode
from rt_framework.jobs.running import run as run_job
from rt_framework.jobs.scoring import Lines, Scorers
from rt_framework.jobs.scoring import score as score_job
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host, structure
from rt_framework.results import FinishedRun, open_run
from rt_framework.scoring import ScoringRules

__all__ = ["Scores", "arun", "ascore", "run", "score"]

ORDINARY = RunMode()


class Reading(TypedDict, total=False):
    """Keys of ``data`` in a config, without the path. Rows in memory have the first three only."""

    columns: Mapping[str, str]
    shape: str
    unreadable: str
    format: str
    revision: str
    config: str
    split: str


@frozen
class Scores:
    """The scores of a data set. Iteration yields a mapping per sample, as a line of ``rt score``, in input order."""

    lines: Sequence[Mapping[str, Any]]
    """Mappings with ``id``, ``row``, ``status``, ``metrics``, ``losses``, and ``reason`` where a score lacks."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def to_list(self) -> list[dict[str, Any]]:
        """Return a flat row per sample: a column for each metric, and two for each loss, its sum and its tokens."""
        return [
            {
                "id": line["id"],
                "row": line["row"],
                "status": line["status"],
                "reason": line.get("reason"),
                **line["metrics"],
                **{f"nll {name}": loss["nll"] for name, loss in line["losses"].items()},
                **{f"tokens {name}": loss["tokens"] for name, loss in line["losses"].items()},
            }
            for line in self.lines
        ]

    def to_pandas(self) -> Any:
        """Return :meth:`to_list` as a pandas ``DataFrame``.

        Raises:
            ConfigError: pandas is not installed.
        """
        return to_pandas(self.to_list())

    def to_dataset(self) -> Any:
        """Return :meth:`to_list` as a ``datasets.Dataset``.

        Raises:
            ConfigError: datasets is not installed.
        """
        return to_dataset(self.to_list())


# --- runs -------------------------------------------------------------------------------------


def run(
    config: Config | Mapping[str, Any] | Path | str,
    data: object = None,
    run_dir: Path | str = Path("runs/rt"),
    *,
    progress: bool = True,
    watchers: Iterable[object] = (),
    host: Host | None = None,
    mode: RunMode = ORDINARY,
) -> FinishedRun:
    """Run a job, or resume it; also where an event loop runs already, as in a notebook.

    Args:
        config: the job: a mapping like the YAML in which a part may be an object too, a YAML file, or a config.
        data: a path, ``hf://datasets/ORG/NAME``, or rows: mappings, pairs, records, a ``Dataset``, a ``DataFrame``;
            the data of *config* when left out.
        run_dir: directory of the ledger and the outputs.
        progress: whether progress is printed.
        watchers: further reporters of this run.
        host: finds the plugins; one that knows all installed plugins when left out.
        mode: differences from an ordinary run.

    Returns:
        the finished run, opened for reading.

    Raises:
        RtError: the run ended early; what was committed stays, and the same call resumes.
    """
    work, opened = _run(config, data, Path(run_dir), progress, watchers, host or Host(), mode)
    completed(work)
    return opened()


async def arun(
    config: Config | Mapping[str, Any] | Path | str,
    data: object = None,
    run_dir: Path | str = Path("runs/rt"),
    *,
    progress: bool = True,
    watchers: Iterable[object] = (),
    host: Host | None = None,
    mode: RunMode = ORDINARY,
) -> FinishedRun:
    """Run a job as :func:`run` does, while the caller's event loop goes on; if cancelled, it first ends in order."""
    work, opened = _run(config, data, Path(run_dir), progress, watchers, host or Host(), mode)
    await OwnThread(work).wait()
    return opened()


def _run(
    config: object,
    data: object,
    run_dir: Path,
    progress: bool,
    watchers: Iterable[object],
    host: Host,
    mode: RunMode,
) -> tuple[Callable[[], Coroutine[Any, Any, object]], Callable[[], FinishedRun]]:
    """Return the work of a run, and what opens it afterwards."""
    settled, source = _job(host, config, data)

    async def work() -> object:
        with watching(host, _console(progress), watchers) as all_of_them:
            return await run_job(host, settled, run_dir, all_of_them, mode, source)

    def opened() -> FinishedRun:
        stack = ExitStack()
        finished = stack.enter_context(open_run(run_dir, host, source))
        finalize(finished, stack.close)
        return finished

    return work, opened


def _job(host: Host, config: object, data: object) -> tuple[Config, Source | None]:
    """Return the config of a run, and the source where its data are rows in memory.

    Raises:
        RtError: the config is wrong, or a row cannot be understood.
    """
    path = _path(data)
    if isinstance(config, Mapping):
        raw = dict(config)
        if data is not None:
            given = raw.get("data")
            raw["data"] = {**(given if isinstance(given, Mapping) else {}), "path": path}
        raw = {key: with_parts(host, value) for key, value in raw.items()}
        raw["metrics"] = metrics_in(raw.get("metrics", {}))[1]
        settled = structure(raw, Config)
    elif isinstance(config, Config | str | Path):
        settled = config if isinstance(config, Config) else read_config(Path(config))
        settled = settled if data is None else evolve(settled, data=evolve(settled.data, path=path))
    else:
        raise ConfigError(f"config: expected a mapping, a path or a Config, not {type(config).__name__}")
    in_memory = data is not None and path == IN_MEMORY
    return settled, _rows(data, settled.data, settled.limits.samples) if in_memory else None


def _path(data: object) -> str:
    """Return the path of the data, as a config has it."""
    return str(data) if isinstance(data, str | Path) else IN_MEMORY


def _rows(data: object, part: DataConfig, limit: int | None) -> Source:
    """Return the source of rows in memory, by what the config says of them.

    Raises:
        ConfigError: the config says what only a file has.
        DataError: a row cannot be understood.
    """
    if part.format is not None:
        raise ConfigError(f"data.format: {IN_MEMORY} have no format; leave '{part.format}' out")
    source = rows_source(data, part.columns, part.shape, limit, part.unreadable)  # type: ignore[arg-type]
    shard = None if part.shard is None else Shard.parse(part.shard)
    return evolve(source, turns=part.turns, shard=shard)


# --- scores -----------------------------------------------------------------------------------


def score(
    data: object,
    student: object = None,
    metrics: Sequence[object] | Mapping[str, object] = (),
    *,
    preset: str = "chat",
    students: Mapping[str, object] = {},
    scoring: Mapping[str, Any] = {},
    limit: int | None = None,
    run_dir: Path | str | None = None,
    progress: bool = True,
    watchers: Iterable[object] = (),
    host: Host | None = None,
    **reading: Unpack[Reading],
) -> Scores:
    """Score rows, or a data set; also where an event loop runs already, as in a notebook.

    Args:
        data: a path, ``hf://datasets/ORG/NAME``, or rows, as for :func:`run`.
        student: the student: a name such as ``hf:MODEL``, an object, or model and tokenizer of transformers.
        metrics: names, or objects with a ``name``; or a mapping of names to either; the preset's when left out.
        preset: the rules of scoring.
        students: further students: the metric ``ifd@NAME`` reads the losses of one.
        scoring: further keys of ``scoring`` in a config, such as ``max_tokens`` or ``template``.
        limit: most rows to score.
        run_dir: directory in which losses are kept, so that the same call resumes; a temporary one when left out.
        progress: whether progress is printed.
        watchers: further reporters.
        host: finds the plugins; one that knows all installed plugins when left out.
        reading: how to read the data, as the keys of ``data`` in a config: ``columns``, ``shape``, …

    Raises:
        RtError: the scoring ended early; with *run_dir* the same call resumes.
    """
    host = host or Host()
    scorers = _scorers(host, student, metrics, students, {"preset": preset, **scoring})
    return completed(_score(host, _source(host, data, reading, limit), scorers, run_dir, progress, watchers))


async def ascore(
    data: object,
    student: object = None,
    metrics: Sequence[object] | Mapping[str, object] = (),
    *,
    preset: str = "chat",
    students: Mapping[str, object] = {},
    scoring: Mapping[str, Any] = {},
    limit: int | None = None,
    run_dir: Path | str | None = None,
    progress: bool = True,
    watchers: Iterable[object] = (),
    host: Host | None = None,
    **reading: Unpack[Reading],
) -> Scores:
    """Score rows as :func:`score` does, while the caller's event loop goes on; if cancelled, it first ends in order."""
    host = host or Host()
    scorers = _scorers(host, student, metrics, students, {"preset": preset, **scoring})
    return await OwnThread(
        _score(host, _source(host, data, reading, limit), scorers, run_dir, progress, watchers)
    ).wait()


def _source(host: Host, data: object, reading: Mapping[str, Any], limit: int | None) -> Source:
    """Return the source of the data to score.

    Raises:
        TypeError: *reading* has a key that says nothing of data.
        RtError: the data cannot be read in this way.
    """
    for key in reading.keys() - Reading.__annotations__.keys():
        raise TypeError(f"score() got an unexpected keyword argument '{key}'")
    part = structure({**reading, "path": _path(data)}, DataConfig, "data")
    return open_source(host, part, limit) if isinstance(data, str | Path) else _rows(data, part, limit)


def _score(
    host: Host,
    source: Source,
    scorers: Scorers,
    run_dir: Path | str | None,
    progress: bool,
    watchers: Iterable[object],
) -> Callable[[], Coroutine[Any, Any, Scores]]:
    """Return the work of a scoring job."""

    async def work() -> Scores:
        lines: list[Mapping[str, Any]] = []

        async def take(scored: Lines, checks: Sequence[Callable[[], None]]) -> None:
            lines.extend([line async for line in scored])
            for check in checks:
                check()

        with ExitStack() as stack:
            all_of_them = stack.enter_context(watching(host, _console(progress), watchers))
            if run_dir is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rt-score-"))) / "run"
            else:
                folder = Path(run_dir)
            await score_job(host, source, scorers, folder, take, all_of_them)
        return Scores(lines)

    return work


def _scorers(
    host: Host, student: object, metrics: object, students: Mapping[str, object], scoring: Mapping[str, Any]
) -> Scorers:
    config = structure(with_parts(host, scoring), ScoringConfig, "scoring")
    names, options = metrics_in(with_parts(host, metrics))
    return Scorers(
        metrics=names or ScoringRules.of(config).preset.metrics,
        student=None if student is None else Spec.parse(with_parts(host, student)),
        config=config,
        students={name: Spec.parse(with_parts(host, one)) for name, one in students.items()},
        options=options,
    )


def _console(progress: bool) -> list[Spec]:
    return [Spec("console")] if progress else []
