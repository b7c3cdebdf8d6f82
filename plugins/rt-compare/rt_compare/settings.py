"""Options of the stage."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class OtherData:
    """A data set whose prompts must not stand in the training data, as ``data`` of a config names one."""

    path: str
    """A file, a folder of files, or a data set of the hub: ``hf://datasets/ORG/NAME``."""
    format: str | None = None
    """Name of its format; found by itself when left out."""
    shape: str | None = None
    """Shape of its columns; found by itself when left out."""
    columns: dict[str, str] = field(factory=dict)
    """Our field to its column: ``{instruction: question, output: answer}``."""

    @classmethod
    def shorthand(cls, value: object) -> object:
        """Expand the short form: a path alone is ``path``."""
        return {"path": value} if isinstance(value, str) else value


@frozen
class DecontaminateSettings:
    """Options of ``decontaminate``."""

    against: tuple[OtherData, ...]
    """Data sets whose prompts are looked for: paths, or mappings with ``path``, ``format``, ``shape``, ``columns``."""
