"""Jobs whose teacher is the fault server, for promises that the server's own counts have to judge."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rt_framework.testing.server import FaultServer
from tests.helpers import Cli, Done
from tests.run_helpers import GATES, SELECTIVE, rows, write_json

PLUGIN = "tests.fakes_plugin"

KINDS = {
    "server_error": "overloaded",
    "bad_gateway": "overloaded",
    "rate_limit": "rate_limited",
    "truncated": "paid_unreadable",
    "bad_json": "paid_unreadable",
    "reset": "connection",
    "policy": "refused",
    "too_long": "too_long",
    "bad_request": "bad_request",
}
"""The kind of failed attempt that each fault becomes; the others give an answer, good or not."""

ODD = ("empty", "null", "no_choices", "length", "content_filter")
"""Faults that give an answer of no use."""


def litellm_at(server: FaultServer, **options: Any) -> dict[str, Any]:
    """The litellm teacher that asks that server."""
    return {"litellm": {"model": "openai/fake-model", "api_base": server.url, "structured": True} | options}


def priced_at(server: FaultServer, **options: Any) -> dict[str, Any]:
    """The same with prices."""
    return litellm_at(server, **{"input_price": 1.0, "output_price": 2.0} | options)


def http_job(folder: Path, server: FaultServer, data: list[dict[str, str]] | None = None, **more: Any) -> Path:
    """A config, over the data or a few plain rows, whose teacher is that server; keys of *more* beat the rest."""
    path = write_json(folder / "data.json", rows(12) if data is None else data)
    raw = {
        "data": {"path": str(path)},
        "teacher": litellm_at(server),
        "student": "fake",
        "scoring": {"preset": "selective-rt"},
        "pipeline": [*SELECTIVE, *GATES],
        "limits": {"concurrency": 4, "attempts": 1},
    }
    return write_json(folder / "job.yaml", raw | more)  # JSON is YAML


class Commands:
    """Calls ``rt`` in this process, with the fakes and without what is installed beside this package."""

    def __init__(self, monkeypatch: Any, capfd: Any) -> None:
        monkeypatch.setenv("RT_LOAD_PLUGINS", "")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        self._cli = Cli(monkeypatch, capfd)

    def __call__(self, *arguments: object) -> Done:
        """Run ``rt ARGUMENTS``; return its exit code and its output."""
        return self._cli("-p", PLUGIN, *arguments, plugin=False)


def questions(server: FaultServer) -> Counter[str]:
    """Return how often each question reached the server."""
    return Counter(json.dumps(request.body["messages"], sort_keys=True) for request in server.received)
