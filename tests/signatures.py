"""Members of the protocols with their signatures, as the reference page shows them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rt_framework import protocols


def listed() -> Iterator[tuple[str, type]]:
    """Every protocol, in the order in which they are written."""
    for path in sorted(Path(inspect.getfile(protocols)).parent.glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield node.name, getattr(protocols, node.name)


def shown(cls: type) -> Iterator[tuple[str, str]]:
    """Each member of one protocol with what its docstring says first, ready for a table."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    body: Any = tree.body  # type: ignore[attr-defined]
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list):
                yield _cell(f"{node.name}: {ast.unparse(node.returns)}"), _cell(_first(ast.get_docstring(node)))
            else:
                start = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
                returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
                yield (
                    _cell(f"{start}{node.name}({ast.unparse(node.args)}){returns}"),
                    _cell(_first(ast.get_docstring(node))),
                )
        elif isinstance(node, ast.AnnAssign):
            told = after.value.value if isinstance(after, ast.Expr) else ""
            yield _cell(f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}"), _cell(_first(told))


def _first(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


def _cell(text: str) -> str:
    plain = re.sub(r":(class|attr|func|mod|meth):", "", text)
    return plain.replace("``", "`").replace("|", "\\|").replace("(self, ", "(").replace("(self)", "()")
