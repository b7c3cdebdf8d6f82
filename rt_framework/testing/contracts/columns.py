"""What the contracts of selectors and stages share: columns of the data that a part reads besides the pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rt_framework.testing.contracts.base import PluginContract


class ColumnContract(PluginContract):
    """Checks of a part that may read columns of the data."""

    columns: Mapping[str, Sequence[Any]] = MappingProxyType({})
    """Values of the columns that need others than the texts of the kit, taken in turn; values as JSON has them."""

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of this contract, for another process."""
        return {**super().attributes(), "columns": dict(self.columns)}

    def extra_of(self, row: int) -> dict[str, Any]:
        """Return the values of the columns that the part declares, in a row; texts repeat after three rows."""
        declared = getattr(self.make(), "columns", ())
        names = [declared] if isinstance(declared, str) else declared
        turns = {name: self.columns.get(name) or [f"{name} {number}" for number in range(3)] for name in names}
        return {name: values[row % len(values)] for name, values in turns.items()}

    def test_columns_are_names(self) -> None:
        """``columns``, if it is there, lists names of columns."""
        columns = getattr(self.make(), "columns", ())
        good = not isinstance(columns, str) and all(isinstance(name, str) and name for name in columns)
        assert good, f"expected columns to list names of columns, found {columns!r}; a text alone is no list"
