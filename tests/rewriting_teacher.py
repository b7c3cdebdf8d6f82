"""A one-file plugin: a teacher that rewrites any data set without a model, now well, now badly, now not at all.

``rt -p tests/rewriting_teacher.py run …`` with ``teacher: rewriting``. Its answers follow from the request alone.
"""

from __future__ import annotations

import json
import re

from rt_framework import TeacherError, hookimpl
from rt_framework.model import Reply, Request, Usage

_ASKS = (
    "Give your reasons, and one example from everyday life.",
    "Answer for somebody who meets the subject for the first time, step by step.",
    "Name the two points that matter most, and say what would change your mind.",
    "Say at the end what is uncertain about it.",
)
_OPENINGS = (
    "The short answer first: {first} The longer one: {response} Put together, this covers what was asked.",
    "{response} To see why, take one case at a time: {first} The same holds for the others.",
    "Step one is to read the question closely. Step two is to answer it: {response} Step three is to check it.",
)


class RewritingTeacher:
    """Answers in the form asked for; one in twelve is of no use, one in forty an error."""

    identity = "rewriting"
    structured = True

    async def complete(self, request: Request) -> Reply:
        """The texts of the pair, put differently."""
        luck = int(request.pair_hash[:8], 16) + request.index
        shown = request.messages[-1].content
        if luck % 40 == 3:
            raise TeacherError("refused", "the provider's filter does not like this one")
        answer = json.dumps(_parts(request, luck, shown))
        finish = "length" if luck % 24 == 5 else "stop"
        text = f"Sure! {answer}" if luck % 24 == 7 else answer
        return Reply(
            text, finish, Usage(len(shown) // 4, len(text) // 4), "rewriting-1", self.cost(len(shown), len(text))
        )

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Nano-dollars: about what a small model takes."""
        return 150 * prompt_tokens + 600 * completion_tokens


def _parts(request: Request, luck: int, shown: str) -> dict[str, str]:
    instruction, given, response = (_part(name, shown) for name in ("instruction", "input", "response"))
    first = re.split(r"(?<=[.!?])\s", response.strip())[0]
    parts = {
        "critique": f"It begins well ('{first[:60]}') and stops early: {len(response.split())} words are few for this.",
        "instruction": " ".join(filter(None, (instruction.strip(), given.strip(), _ASKS[luck % len(_ASKS)]))),
        "response": _OPENINGS[luck % len(_OPENINGS)].format(first=first, response=response.strip()),
    }
    wanted = (request.schema or {}).get("properties", parts)
    return {name: parts[name] or "It cannot be said." for name in wanted}


def _part(name: str, shown: str) -> str:
    """Return the text inside the fence of that name; an empty text if there is no such fence."""
    found = re.search(rf"<<<{name} \w+>>>\n(.*?)\n<<<end", shown, re.DOTALL)
    return found[1] if found else ""


@hookimpl
def rt_register_teachers(register):
    """By one name."""
    register("rewriting", f"{__name__}:RewritingTeacher", help="rewrites without a model, for tests")
