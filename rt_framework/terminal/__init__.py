"""Everything that is drawn on a terminal. Only this package imports rich."""

from rt_framework.terminal.console import VERSION_WORDS, summary_tables
from rt_framework.terminal.cost import show_forecast, show_preview, show_quote
from rt_framework.terminal.explain import tell
from rt_framework.terminal.findings import show_findings, watched
from rt_framework.terminal.live import Display, screen
from rt_framework.terminal.printing import dollars, line, money, saved, stdout, table
from rt_framework.terminal.review import show_rewrite

__all__ = [
    "VERSION_WORDS",
    "Display",
    "dollars",
    "line",
    "money",
    "saved",
    "screen",
    "show_findings",
    "show_forecast",
    "show_preview",
    "show_quote",
    "show_rewrite",
    "stdout",
    "summary_tables",
    "table",
    "tell",
    "watched",
]
