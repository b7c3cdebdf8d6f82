"""Commands of `rt` within a script."""

from __future__ import annotations

import sys

from rt_framework.cli import main


def rt(*words: object) -> None:
    """Call `rt`; an error or an interruption ends the study, which goes on when it is called again."""
    sys.argv = ["rt", *map(str, words)]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
