"""The texts below the fields of a class: for ``help()``, for the help of options, and for reference pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def field_texts(cls: type) -> dict[str, str]:
    """Return the text below each field of a class and of its parents, on one line; empty for a class without source.

    A cached property is a field too, for attrs makes it one; its text is the first paragraph of its docstring.
    """
    return {name: text for parent in reversed(cls.__mro__[:-1]) for name, text in _own(parent)}


def _own(cls: type) -> Iterator[tuple[str, str]]:
    import ast
    import inspect
    import itertools
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return
    body = next((node.body for node in tree.body if isinstance(node, ast.ClassDef)), [])
    for line, below in itertools.pairwise([*body, ast.Pass()]):
        if isinstance(line, ast.FunctionDef) and "cached_property" in map(ast.unparse, line.decorator_list):
            yield line.name, " ".join((ast.get_docstring(line) or "").partition("\n\n")[0].split())
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield line.target.id, " ".join(str(below.value.value).split())


class FieldTexts(dict[str, str]):
    """The names in ``__slots__`` of an attrs class, each with the text below the field, which ``help()`` shows.

    Python keeps no text of a field; ``help()`` takes one from ``__slots__`` if that is a mapping. The source is read
    only then, so that the import of a class costs nothing.
    """

    def __init__(self, cls: Any) -> None:
        super().__init__(dict.fromkeys(cls.__slots__, ""))
        self._cls = cls

    def __getitem__(self, name: str) -> str:
        return field_texts(self._cls).get(name, "")
