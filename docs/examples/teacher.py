"""A teacher that asks a program: the request as JSON on its standard input, the answer from its standard output."""

from __future__ import annotations

import asyncio
import json

from attrs import asdict, frozen

from rt_framework import Reply, Request, TeacherError, hookimpl
from rt_framework.hookspecs import Register


@frozen
class ProgramSettings:
    """Options of ``program``."""

    path: str
    """An executable file."""
    timeout: float = 60.0
    """Seconds for one answer."""


class ProgramTeacher:
    """One call makes one attempt; the framework is responsible for retries and for storing answers."""

    structured = True

    def __init__(self, settings: ProgramSettings) -> None:
        self._settings = settings

    @property
    def identity(self) -> str:
        """Part of every call's key: another program gives other answers."""
        return f"program:{self._settings.path}"

    async def complete(self, request: Request) -> Reply:
        """Return the answer, usable or not; raise a failure with one of the known kinds."""
        try:
            process = await asyncio.create_subprocess_exec(
                self._settings.path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise TeacherError("model_missing", f"{self._settings.path}: {error.strerror}") from error
        try:
            asked = json.dumps(asdict(request)).encode()
            told, _ = await asyncio.wait_for(process.communicate(asked), self._settings.timeout)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise TeacherError("timeout", f"no answer within {self._settings.timeout:g} s") from None
        if process.returncode:
            raise TeacherError("overloaded", f"the program ended with code {process.returncode}")
        return Reply(told.decode("utf-8", "replace"), model=self.identity)


@hookimpl
def rt_register_teachers(register: Register) -> None:
    """Offer ``program``."""
    register("program", "teacher:ProgramTeacher", help="a program on this machine", settings=ProgramSettings)
