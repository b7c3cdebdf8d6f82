"""Merging of the runs of all shards into one run: one ledger, and the outputs that a single run would have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.config import Config, Shard
from rt_framework.data import Destination, claim
from rt_framework.errors import ConfigError, DataError
from rt_framework.events import Progress, Summary
from rt_framework.ledger import Ledger, join_ledgers
from rt_framework.pipeline import (
    REQUEST_OF,
    Opened,
    open_job,
    reflection_facts,
    student_facts,
    students_of,
    teacher_facts,
    teachers_of,
)
from rt_framework.plugin import Host
from rt_framework.rundir import (
    LEDGER,
    MERGING,
    Reviews,
    alone,
    check_obeyed,
    claim_outputs,
    count_reviews,
    differences,
    is_place,
    open_run,
    read_config_of,
    read_reviews,
    summarise,
    with_unread,
    write_manifest,
    write_outputs,
    write_reviews,
)
from rt_framework.scoring import ScoringRules, canary_key, same_weights

_PARTS = ("student", "scoring", "teacher")


@frozen
class _Part:
    """The run directory of one shard."""

    path: Path
    shard: Shard
    facts: Mapping[str, Any]
    """Frozen facts of its ledger, without the shard."""
    forward_paths: tuple[str, ...]
    places: tuple[str, ...]
    """Places (provider or server) at which its teacher was asked."""
    unpriced: bool
    """True if some of its calls had no price."""
    canaries: Mapping[str, Any]
    """Notes of the losses of fixed texts, of each student behind a server, by their keys in the ledger."""


def merge(host: Host, config: Config, out: Path, shards: Sequence[Path]) -> Summary:
    """Merge the runs of all shards of a job into *out*.

    Safe to repeat: a killed merge starts over, a finished merge only writes its outputs again.

    Args:
        host: finds the plugins.
        config: the whole job, without a shard.
        out: run directory of the whole.
        shards: run directories of the shards, all of them, in any order.

    Raises:
        DataError: *shards* are not all shards of the job of *config*, not finished, or with vetoes that were not
            obeyed; *out* holds something else.
        LockedError: one of the shards is running.
        ConfigError: a stage of *config* needs all samples, or *out* is a place that must not be written.
    """
    claim([Destination(out, "OUT", "run")], inputs=shards)
    for path in shards:
        _check_there(path)
    job = open_job(host, config, partial(claim_outputs, config, out))
    whole = next((step.name for step in job.steps if step.barrier), None)
    if whole is not None:
        raise ConfigError(
            f"stage '{whole}' needs all samples: merge with the config of the shards, then run the pipeline in {out}"
        )
    total, facts = job.source.count(), _facts(job, config)
    with ExitStack() as stack:
        ledgers = [stack.enter_context(open_run(path)) for path in shards]
        for path, ledger in zip(shards, ledgers, strict=True):
            check_obeyed(path, count_reviews(read_reviews(path), ledger))
        parts = _checked([_part(path, ledger) for path, ledger in zip(shards, ledgers, strict=True)])
        for part in parts:
            _check_job(part, config, facts)
        ended = sum(1 for ledger in ledgers for _ in ledger.samples.outcomes())
        if ended != total:
            raise DataError(f"{ended} of {total} samples are finished: finish the shards first")
        with alone(out):
            _join(out, parts)
    with open_run(out) as ledger:
        files, faults = write_outputs(job.outlet, job.source, out, ledger)
        summary = evolve(summarise(ledger, Progress(), files), reviews=count_reviews(read_reviews(out), ledger))
        summary = with_unread(summary, faults)
        write_manifest(out, host, ledger, config, summary)
    return summary


def _facts(job: Opened, config: Config) -> dict[str, Any]:
    """Return the facts that a run of this job would freeze. Loads no model and asks no teacher."""
    facts: dict[str, Any] = {"data": job.source.facts()}
    if job.students:
        facts |= {
            **student_facts(students_of(job.make, job.students)),
            "scoring": ScoringRules.of(config.scoring).facts(),
        }
    if job.teachers:
        asked = teacher_facts(teachers_of(job.make, job.teachers, job.students))
        facts |= {name: fact for name, fact in asked.items() if not is_place(name)} | reflection_facts(job.steps)
    return facts


def _check_there(path: Path) -> None:
    if not (path / LEDGER).is_file():
        raise DataError(f"{path}: no ledger here; is this the run directory of a shard?")


def _part(path: Path, ledger: Ledger) -> _Part:
    facts = ledger.meta("frozen") or {}
    shard = facts.get("data", {}).get("shard")
    if shard is None:
        raise DataError(f"{path}: not the run directory of a shard; 'rt run CONFIG --shard 1/n' makes one")
    data = {key: value for key, value in facts["data"].items() if key != "shard"}
    return _Part(
        path,
        Shard.parse(shard),
        {**facts, "data": data},
        tuple(ledger.meta("forward_paths") or ()),
        tuple(ledger.meta("places") or ()),
        bool(ledger.meta("unpriced")),
        {
            key: note
            for fact, fingerprint in facts.items()
            if fact.split(" ")[0] == "student" and (note := ledger.meta(key := canary_key(fingerprint)))
        },
    )


def _check_job(part: _Part, config: Config, facts: Mapping[str, Any]) -> None:
    """Check that a shard was run with *config*.

    Raises:
        DataError: the shard was run with another config; the message lists the differences.
    """
    was = read_config_of(part.path)
    asked = {
        "pipeline": (was.pipeline, config.pipeline),
        "limits.samples": (was.limits.samples, config.limits.samples),
        **{key: (part.facts.get(key), here) for key, here in facts.items() if _compares(key, part.facts)},
    }
    # Parts that the shards had and the config leaves out. A reflection that only an earlier pipeline used is no part.
    asked |= {key: (there, None) for key, there in part.facts.items() if _is_part(key) and key not in facts}
    changed: list[str] = []
    for name, (there, here) in asked.items():
        if _is_part(name):
            changed += differences(name, there, here)
        elif there != here:
            changed.append(name)
    if changed:
        raise DataError(f"{part.path} was run with another config: it differs in {', '.join(changed)}")


def _is_part(fact: str) -> bool:
    """Return whether a fact describes the student, the scoring rules or a teacher: ``teacher``, or with its name."""
    return fact.split(" ")[0] in _PARTS


def _compares(key: str, facts: Mapping[str, Any]) -> bool:
    """Return whether the facts of a shard have a fact to compare; earlier releases recorded no text of requests."""
    return key in facts or not key.startswith(REQUEST_OF)


def _checked(parts: Sequence[_Part]) -> list[_Part]:
    """Return the shards in order.

    Raises:
        DataError: a shard is missing, given twice, or of another job.
    """
    first = parts[0]
    found: dict[int, Path] = {}
    for part in parts:
        if part.shard.of != first.shard.of:
            raise DataError(f"{part.path} is shard {part.shard}, but {first.path} is shard {first.shard}")
        if part.shard.number in found:
            raise DataError(f"{part.path} and {found[part.shard.number]} are both shard {part.shard}")
        keys = [
            key for key in {*part.facts, *first.facts} if _compares(key, part.facts) and _compares(key, first.facts)
        ]
        changed = sorted(key for key in keys if part.facts.get(key) != first.facts.get(key))
        if changed:
            raise DataError(f"{part.path} and {first.path} are of different jobs: they differ in {', '.join(changed)}")
        for key in part.canaries.keys() & first.canaries.keys():
            if not same_weights(part.canaries[key], first.canaries[key]):
                raise DataError(
                    f"{part.path} and {first.path} were scored by other weights behind the same name of a student: the "
                    "losses of fixed texts differ. Score one of them again in a new run directory"
                )
        found[part.shard.number] = part.path
    missing = [str(Shard(number, first.shard.of)) for number in range(1, first.shard.of + 1) if number not in found]
    if missing:
        raise DataError(f"shards are missing: {', '.join(missing)}")
    return sorted(parts, key=lambda part: part.shard.number)


def _join(out: Path, parts: Sequence[_Part]) -> None:
    """Join the ledgers of the shards into one in *out*, completely or not at all.

    Raises:
        DataError: *out* holds a ledger that was not merged from these shards.
        DiskError: the ledger cannot be written.
    """
    merged = [str(part.path.resolve()) for part in parts]
    if (out / LEDGER).exists():
        with Ledger.reading(out / LEDGER) as there:
            if there.meta("merged") != merged:
                raise DataError(f"{out}: holds another run; merge into a new directory")
        return
    paths = sorted({path for part in parts for path in part.forward_paths})
    places = list(dict.fromkeys(place for part in parts for place in part.places))
    notes = {
        **{key: note for part in parts for key, note in part.canaries.items()},
        "frozen": parts[0].facts,
        "forward_paths": paths,
        "merged": merged,
        "places": places,
        "unpriced": any(part.unpriced for part in parts),
    }
    for left in out.glob(f"{MERGING}*"):
        left.unlink()
    # Before the ledger has its name: from then on, the directory may have reviews of its own.
    reviews = Reviews().saying(*(review for part in parts for review in read_reviews(part.path)))
    if reviews:
        write_reviews(out, reviews)
    join_ledgers(out / MERGING, [part.path / LEDGER for part in parts], notes)
    (out / MERGING).rename(out / LEDGER)
