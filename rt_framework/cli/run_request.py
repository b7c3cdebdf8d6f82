"""The job that a command is to run: config, run directory, reporters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from rt_framework.cli.reporter_options import watching
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Config
    from rt_framework.events import Summary
    from rt_framework.jobs.running import RunMode


@frozen
class RunRequest:
    """A job, as the command line describes it."""

    host: Host
    """Host of the plugins of this command."""
    config: Config
    """The config, with the changes of ``--set``, ``--limit`` and ``--shard``."""
    run_dir: Path
    """Directory of the ledger and the outputs."""
    reporters: tuple[str, ...]
    """Names of the reporters, with their options, as the user gave them."""
    typed: tuple[str, str]
    """What a user would type before the name of a command on the job, and after it."""
    moved: bool
    """True if the teacher may be asked at another place (provider or server) than the run directory has recorded."""

    def run(self, mode: RunMode) -> Summary:
        """Run the job, or resume it, with its reporters; return its summary.

        Raises:
            RtError: as :func:`rt_framework.jobs.running.run`.
        """
        import asyncio

        from rt_framework.jobs.running import run

        with watching(self.host, self.reporters) as watchers:
            summary = asyncio.run(run(self.host, self.config, self.run_dir, watchers, evolve(mode, moved=self.moved)))
        self.tell_ways_out(summary)
        return summary

    def command(self, name: str = "run") -> str:
        """Return a command on the job, as a user would type it."""
        return f" {name} ".join(self.typed)

    def tell_ways_out(self, summary: Summary) -> None:
        """Print how to get what the job lacks, unless its reporters leave standard output to others."""
        from rt_framework.config import spec_of
        from rt_framework.terminal.console import show_ways_out

        if any(spec_of(name, "--reporter").name == "console" for name in self.reporters):
            show_ways_out(summary, self.command(), self.command("retry"))

    def exit_code(self, summary: Summary) -> int:
        """Return 1 if more samples met errors than ``limits`` allow, else 0."""
        return int(self.config.limits.too_many(summary.errors, summary.total))
