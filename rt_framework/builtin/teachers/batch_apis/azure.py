"""Azure OpenAI's batch API: OpenAI's, for deployments of the kind *global batch*, with files that are checked first."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from rt_framework.builtin.teachers.batch_apis.door import Door, Draft
from rt_framework.builtin.teachers.batch_apis.openai import OpenAIBatches
from rt_framework.errors import TeacherError

_UNCHECKED = frozenset({"uploaded", "pending", "running", "notRunning"})
_REFUSED = frozenset({"error", "canceled", "deleting", "deleted"})
"""Statuses of a file that Azure still checks, and of one of which no batch can be made."""

_PAUSE = 2.0
"""Seconds between two looks at a file that is being checked."""


class AzureBatches(OpenAIBatches):
    """The batches of one Azure OpenAI resource. The model of each line is the name of a deployment."""

    chats = re.compile(r"(/deployments/[^/]+)?/chat/completions$")
    login = frozenset({"api-key", "authorization"})
    endpoint = "/chat/completions"

    async def _upload(self, door: Door, drafts: Mapping[str, Draft], line: Callable[[Any], Mapping[str, Any]]) -> str:
        file = await super()._upload(door, drafts, line)
        # A batch of a file that is still being checked is refused. Core bounds the time of a submission.
        while True:
            status = str((await door.asked("GET", f"/files/{file}")).get("status"))
            if status not in _UNCHECKED:
                break
            await asyncio.sleep(_PAUSE)
        if status in _REFUSED:
            raise TeacherError("bad_request", f"Azure did not accept the file of requests: its status is {status}")
        return file
