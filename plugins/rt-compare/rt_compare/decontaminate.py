"""The stage that drops samples whose prompt also stands in other files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rt_compare.prompts import WORDS, Match, PromptIndex
from rt_compare.settings import DecontaminateSettings, OtherData
from rt_framework import Decision, Dropped, Pair, Sample
from rt_framework.errors import ConfigError, DataError
from rt_framework.protocols import Make, Question, StageContext


class Decontaminate:
    """Drops a sample if the prompt of its current version also stands in one of the files.

    The files are read when the stage is built, before anything is paid for.

    Raises:
        ConfigError: no file is named.
        DataError: a file cannot be read.
    """

    needs: Sequence[str] = ()
    reflections: Mapping[str, Question[Any]] = MappingProxyType({})

    def __init__(self, settings: DecontaminateSettings, make: Make) -> None:
        if not settings.against:
            raise ConfigError("decontaminate: name at least one file in 'against'")
        self._index = PromptIndex((other.path, _pairs(make, other)) for other in settings.against)

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:  # noqa: ARG002 - it asks nothing
        """Return the sample, or its end with the file; the decision about it has the row and the words."""
        match = self._index.find(sample.current.pair)
        if match is None:
            return sample
        # Samples are counted by the reason, so it has the file alone.
        noted = sample.deciding(Decision("decontaminate", (sample.kept,), sample.kept, _told(match)))
        return Dropped(noted, f"prompt also in {match.name}")


def _pairs(make: Make, other: OtherData) -> Iterator[Pair]:
    from rt_framework.jobs.reading import open_data

    try:
        source = open_data(make, other.path, other.format, other.shape, other.columns)
    except DataError as error:
        # The message names the keys of the run's own data, which would not help here.
        here = f"; in 'against' these keys stand beside the path: {{path: {other.path}, columns: {{…}}}}"
        raise DataError(f"{error}{here if 'data.' in str(error) else ''}") from None
    yield from (sample.original.pair for sample in source.samples())


def _told(match: Match) -> str:
    what = f"{WORDS} words in common" if len(match.words.split()) == WORDS else "the same text"
    return f"{match.name}, row {match.row} (from 0): {what}: {match.words}"
