"""A pseudo-terminal for tests: what a command shows on a screen of a given size, moment by moment.

``python -m tests.terminal 80 24 rt run rt.yaml`` prints the screens of a command, each with its time.
"""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path

from attrs import frozen

_CODES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Screen:
    """A screen that understands what the display of a run writes, and refuses everything else.

    Args:
        columns: its width.
        lines: its height.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self._columns, self._lines = columns, lines
        self._cells = [[" "] * columns for _ in range(lines)]
        self._line = self._column = 0
        self._rest = ""
        self.gone: list[str] = []
        """Lines that have left the screen at its top."""
        self.wrapped = 0
        """Lines that were too long, so that the terminal began a new one."""
        self.cursor = True
        """Whether the cursor is shown."""

    @property
    def text(self) -> str:
        """The screen as text, without the empty lines at its end."""
        return "\n".join("".join(cells).rstrip() for cells in self._cells).rstrip()

    @property
    def everything(self) -> str:
        """All lines, those that have left the screen too."""
        return "\n".join([*self.gone, self.text])

    def feed(self, text: str) -> None:
        """Show what a program writes; a code that is cut in two waits for its end."""
        text, self._rest = self._rest + text, ""
        place = 0
        while place < len(text):
            char = text[place]
            if char == "\x1b":
                found = _CODES.match(text, place)
                if found is None:
                    self._rest = text[place:]
                    assert len(self._rest) < 20, f"an unknown code: {self._rest!r}"
                    return
                self._obey(found[1], found[2])
                place = found.end()
                continue
            place += 1
            if char == "\r":
                self._column = 0
            elif char == "\n":
                self._down()
            else:
                self._put(char)

    def _put(self, char: str) -> None:
        assert char.isprintable(), f"a control character: {char!r}"
        if self._column == self._columns:
            self.wrapped += 1
            self._column = 0
            self._down()
        self._cells[self._line][self._column] = char
        self._column += 1

    def _down(self) -> None:
        if self._line < self._lines - 1:
            self._line += 1
            return
        self.gone.append("".join(self._cells.pop(0)).rstrip())
        self._cells.append([" "] * self._columns)

    def _obey(self, number: str, code: str) -> None:
        if code == "A":
            self._line = max(self._line - int(number or 1), 0)
        elif (number, code) == ("2", "K"):
            self._cells[self._line] = [" "] * self._columns
        elif (number, code) in {("?25", "l"), ("?25", "h")}:
            self.cursor = code == "h"
        else:
            assert code == "m", f"an unknown code: {number}{code}"


@frozen
class Shown:
    """The screens of a command that has ended."""

    code: int
    """Its exit code."""
    screens: tuple[tuple[float, str], ...]
    """Each screen that differs from the one before, with the seconds since the start."""
    end: Screen
    """The screen at the end."""


def show(
    command: Sequence[str | Path],
    columns: int = 80,
    lines: int = 24,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> Shown:
    """Run a command on a terminal of that size, and return what it shows until it ends."""
    reader, writer = pty.openpty()
    ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    told = {name: value for name, value in (os.environ if env is None else env).items() if name != "COLUMNS"}
    told |= {"TERM": "xterm-256color"}
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env=told, stdin=writer, stdout=writer, stderr=writer)
    os.close(writer)
    screen, screens, decode = Screen(columns, lines), [], codecs.getincrementaldecoder("utf-8")().decode
    try:
        while time.monotonic() - began < timeout:
            if select.select([reader], [], [], 0.02)[0]:
                try:
                    written = os.read(reader, 65536)
                except OSError:  # how Linux says that the other side has been closed
                    break
                screen.feed(decode(written))
            elif not screens or screens[-1][1] != screen.text:  # nothing is half drawn after a pause
                screens.append((time.monotonic() - began, screen.text))
        code = process.wait(max(timeout - (time.monotonic() - began), 0.1))
    finally:
        os.close(reader)
        process.kill()
        process.wait()
    return Shown(code, tuple(screens), screen)


def main() -> int:
    """Print the screens of a command."""
    columns, lines, *command = sys.argv[1:]
    shown = show(command, int(columns), int(lines))
    for seconds, text in shown.screens:
        print(f"--- {seconds:.1f} s", text, sep="\n")
    print("--- the end", shown.end.everything, f"--- {shown.end.wrapped} lines wrapped", sep="\n")
    return shown.code


if __name__ == "__main__":
    sys.exit(main())
