r"""A reporter that draws the live screen of a run as an SVG file, in the middle of the run.

``live.svg`` beside it is of this command::

    rt -p docs/pictures/live.py run demo/config.yaml --run-dir runs/picture \
      --set student=hf:$(python demo/model.py) --reporter console --reporter picture:docs/pictures/live.svg
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from attrs import frozen
from rich.console import Console

from rt_framework import hookimpl
from rt_framework.events import Progress
from rt_framework.hookspecs import Register
from rt_framework.terminal.live import screen

FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""Rich names a font on a server of others; the reader's own will do."""


@frozen
class PictureSettings:
    """Options of ``picture``."""

    path: str
    """File to write."""
    share: float = 0.6
    """Share of the run that is done by then, 0 … 1."""
    columns: int = 80
    """Width of the terminal."""


class PictureReporter:
    """Draws the first progress that is far enough."""

    def __init__(self, settings: PictureSettings) -> None:
        self._settings = settings
        self._drawn = False

    @hookimpl
    def rt_progress(self, event: Progress) -> None:
        """Draw once."""
        if not self._drawn and event.samples.share >= self._settings.share:
            self._drawn = True
            console = Console(record=True, width=self._settings.columns, file=io.StringIO(), force_terminal=True)
            console.print(screen(event))
            drawn = FONTS.sub("", console.export_svg(title="rt run", unique_id="live"))
            Path(self._settings.path).write_text(drawn, "utf-8")


@hookimpl
def rt_register_reporters(register: Register) -> None:
    """Offer ``picture``."""
    register("picture", "live:PictureReporter", help="the live screen as SVG", settings=PictureSettings)
