"""Everything that is drawn on a terminal. Only this package imports rich.

Its modules are imported one by one, so that a command loads only what it prints with.
"""

__all__ = [
    "console",
    "cost",
    "explain",
    "findings",
    "live",
    "printing",
    "review",
    "samples",
    "standing",
]
