"""Runs whose teacher is the server of attack, and what their ledgers hold; a plugin too, with a reflection for them.

A row names the attack that its question is answered with; a row that names none is answered honestly.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework import hookimpl
from rt_framework.config.schema import Config
from rt_framework.events import Summary
from rt_framework.jobs.running import RunMode, run
from rt_framework.model import Pair, Reply, Request, Sampling, Turn, Unparsed
from rt_framework.plugin import structure
from rt_framework.plugin.host import Host
from rt_framework.testing.attacks import Attack
from rt_framework.testing.batch_desk import BatchDesk
from rt_framework.testing.server import FaultServer
from rt_framework.testing.wire import chat_of
from tests.helpers import with_questions, write_json
from tests.providers import reached_at

PLUGIN = "tests.attack_helpers"
KEY = "sk-canary-0123456789abcdef"
GOOD = "An honest question"

PROMPT, COMPLETION = 10, 1_000_000
"""Nano-dollars of a token of a question and of an answer: an answer costs a tenth of a dollar, a question nothing."""

MOST = 100
"""Tokens that an answer may have."""

TEXT = "hello " * 66 + "end."
"""An honest answer: it has exactly so many tokens, by the server's measure."""

LIMIT = 8 << 20
"""Bytes of a body that are kept."""


class Echo:
    """A reflection that asks what the instruction says and takes any text for the new response."""

    rewrites = ("response",)

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """One turn."""
        return Request("echo", pair.hash, index, (Turn("user", pair.instruction),), Sampling(max_tokens=MOST))

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair | Unparsed:
        """The text."""
        return evolve(pair, response=reply.text) if reply.text.strip() else Unparsed("empty", "no text")


@hookimpl
def rt_register_reflections(register: Any) -> None:
    register("echo", f"{PLUGIN}:Echo")


def server_of(
    attacks: Iterable[Attack] = (), desk: BatchDesk | None = None, calm: list[bool] | None = None
) -> FaultServer:
    """A server that attacks a question that names one of the attacks, until *calm* holds something."""
    named = {attack.name: attack for attack in attacks}
    return FaultServer(
        lambda body: TEXT, lambda _, body: None if calm else named.get(asked(body).partition(" #")[0]), desk
    )


def asked(body: dict[str, Any]) -> str:
    """The text of a question as it arrived."""
    return str(chat_of(body)["messages"][-1]["content"])


def job(
    folder: Path,
    server: FaultServer,
    questions: list[str],
    limits: Any = None,
    provider: str = "openai",
    **teacher: Any,
) -> Config:
    """A config that asks these questions, each in a row of its own."""
    rows = [{"instruction": text, "input": "", "output": "old"} for text in questions]
    options = {**reached_at(provider, server), "model": f"{provider}/attack", "structured": True}
    prices = {"input_price": PROMPT / 1000, "output_price": COMPLETION / 1000}
    raw = {
        "data": {"path": str(write_json(folder / "data.json", rows))},
        "teacher": {"litellm": options | prices | teacher},
        "pipeline": [{"reflect": "echo"}, {"choose": "newest"}],
        "limits": {"attempts": 1, "answers": 1, "concurrency": 4, "budget_usd": 1000.0} | (limits or {}),
    }
    return structure(raw, Config)


def go(config: Config, run_dir: Path, seconds: float = 60.0, **manner: Any) -> Summary:
    """Run the job; one that does not come to its end is an error."""

    async def bounded() -> Summary:
        async with asyncio.timeout(seconds):
            return await run(Host(modules=[PLUGIN], only=[], strict=True), config, run_dir, (), RunMode(**manner))

    return asyncio.run(bounded())


@frozen
class Attempt:
    """One attempt as the ledger holds it."""

    id: int
    question: str
    state: str
    kind: str | None
    message: str | None
    reserved: int
    cost: int
    reply: dict[str, Any] | None
    raw: bytes | None


def attempts(run_dir: Path) -> list[Attempt]:
    """Every attempt, oldest first. A ledger without raw bodies has none."""
    with closing(sqlite3.connect(run_dir / "ledger.sqlite")) as db:
        columns = {row[1] for row in db.execute("PRAGMA table_info(attempts)")}
        raw = "raw" if "raw" in columns else "NULL"
        found = (
            with_questions(db)
            .execute(
                "SELECT id, question(request, pattern), state, attempts.kind, message, reserved, cost, "
                f"attempts.reply, {raw} FROM attempts JOIN calls ON number = call ORDER BY id"
            )
            .fetchall()
        )
    return [
        Attempt(id_, json.loads(request)["messages"][-1]["content"], *rest, reply and json.loads(reply), body)
        for id_, request, *rest, reply, body in found
    ]


def spent(run_dir: Path) -> int:
    """Nano-dollars that the ledger counts."""
    return sum(one.reserved if one.state == "intent" else one.cost for one in attempts(run_dir))


def honest_cost(question: str, share: float = 1.0) -> float:
    """Return the cost of an honest answer to a question, in nano-dollars; *share* is the part of the full price."""
    return share * (PROMPT * -(-len(question.encode("utf-8", "replace")) // 4) + COMPLETION * MOST)


def billed(server: FaultServer, share: float = 1.0) -> float:
    """Return the charge of the server for all answers that it billed, in nano-dollars."""
    return sum(honest_cost(asked(one.body), share) for one in server.received if one.billed)
