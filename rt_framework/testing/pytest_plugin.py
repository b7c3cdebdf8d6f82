"""A pytest plugin with the fixture ``rt_project``, which pytest finds by itself. Imports no library but pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from rt_framework.testing.project import Project


@pytest.fixture
def rt_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Project:
    """A folder to run ``rt`` in, with a teacher and a student that need no model: see :class:`Project`."""
    from rt_framework.testing.project import Project

    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, monkeypatch, capfd)
