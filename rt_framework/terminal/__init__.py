"""Everything that is drawn on a terminal. Only this package imports rich."""

from rt_framework.terminal.console import VERSION_WORDS, dollars, line, money, stdout, summary_tables, table
from rt_framework.terminal.cost import show_forecast, show_preview, show_quote
from rt_framework.terminal.explain import tell
from rt_framework.terminal.live import Display, screen

__all__ = [
    "VERSION_WORDS",
    "Display",
    "dollars",
    "line",
    "money",
    "screen",
    "show_forecast",
    "show_preview",
    "show_quote",
    "stdout",
    "summary_tables",
    "table",
    "tell",
]
