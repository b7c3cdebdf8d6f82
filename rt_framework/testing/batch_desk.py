"""The part of the fault server that takes files and batches, as the batch APIs of five providers do."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from rt_framework.testing.batch_faces import FACES, Batch, Face
from rt_framework.testing.wire import RawAnswer, refused, told

ENDPOINTS = ("upload", "create", "list", "retrieve", "content")
"""Endpoints of the desk."""

ENDINGS = ("completed", "failed", "expired", "cancelled")
"""Final states of a batch: ``failed`` answers no line, ``expired`` and ``cancelled`` every second line."""

LOST = "lost"
"""Name of a trouble besides the server's faults: the request is carried out, and the response to it is lost."""

Trouble = Callable[[str, int], str | None]
"""Function that chooses a fault's name or :data:`LOST`, from the endpoint and the number of earlier requests to it."""

Line = Callable[[dict[str, Any], str], tuple[int, dict[str, Any]]]
"""Function from the request body of one line, and the name of its form, to status and body of its answer."""

Poison = Callable[[dict[str, Any], bytes], bytes]
"""Function that makes the line of a result file from the requested line (``custom_id``, ``body``) and its honest
result."""

Lie = Callable[[str, int, RawAnswer], RawAnswer]
"""Function that makes a false response from the endpoint, the number of earlier requests to it, and the true one."""


class BatchDesk:
    """Files and batches of one server.

    Args:
        polls: number of times that a batch is shown as in progress, alone or in a list, before it has ended.
        endings: gives the final state of a batch from its number (from 0).
        trouble: chooses the fault of a request to an endpoint.
        poison: changes the lines of the result files.
        lie: changes the responses of the desk.
    """

    def __init__(
        self,
        polls: int = 1,
        endings: Callable[[int], str] = lambda _: "completed",
        trouble: Trouble = lambda _endpoint, _number: None,
        poison: Poison = lambda _asked, result: result,
        lie: Lie = lambda _endpoint, _number, truth: truth,
    ) -> None:
        self.polls = polls
        self.trouble = trouble
        self.asked: Counter[str] = Counter()
        """Number of requests to each endpoint."""
        self.sizes: list[int] = []
        """Number of lines of each batch, in order of creation."""
        self.tokens: list[str] = []
        """The token that marks each batch."""
        self._endings = endings
        self._poison = poison
        self._lie = lie
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, Batch] = {}
        self._lock = threading.RLock()

    def endpoint(self, method: str, path: str) -> str | None:
        """Return the one of :data:`ENDPOINTS`, or ``check``, that a request is for; ``None`` for any other request."""
        return self._faced(method, path)[1]

    def _faced(self, method: str, path: str) -> tuple[Face, str | None]:
        """Return the form of the provider that has this path, and the endpoint."""
        found = ((face, face.endpoint(method, path)) for face in FACES)
        return next((one for one in found if one[1]), (FACES[0], None))

    def difficulty(self, endpoint: str) -> str | None:
        """Count a request; return the fault that it is to meet, if any."""
        with self._lock:
            number = self.asked[endpoint]
            self.asked[endpoint] += 1
        return self.trouble(endpoint, number)

    def tell(self, method: str, path: str, sent: bytes, line: Line) -> RawAnswer:
        """Carry out a request and return the response; the lines of a new batch are answered, and billed, at once."""
        face, endpoint = self._faced(method, path)
        assert endpoint is not None, path
        with self._lock:
            return self._lie(endpoint, self.asked[endpoint] - 1, self._truth(face, endpoint, path, sent, line))

    def _truth(self, face: Face, endpoint: str, path: str, sent: bytes, line: Line) -> RawAnswer:
        if endpoint == "upload":
            name = self._keep(face, face.file(sent))
            return told(face.uploaded(name, len(self._files[name])))
        if endpoint == "create":
            return self._create(face, json.loads(sent), line)
        if endpoint == "list":
            names = [name for name in reversed(self._batches) if self._batches[name].face is face]
            query = path.partition("?")[2]
            return told(face.page(query, names, {name: self._shown(self._batches[name]) for name in names}))
        name = face.named(path)
        if endpoint == "content":
            kept = self._files.get(self._batches[name].files.get("output", "") if name in self._batches else name)
            return refused(404, f"No such File object: {name}") if kept is None else RawAnswer(kept)
        if endpoint == "check":
            # It is being checked at every first look.
            return told({"id": name, "status": "running" if self.asked["check"] % 2 else "processed"})
        if name not in self._batches:
            return refused(404, f"No batch found with id '{name}'.")
        return told(self._shown(self._batches[name]))

    def _keep(self, face: Face, data: bytes) -> str:
        name = face.file_names.format(len(self._files))
        self._files[name] = data
        return name

    def _create(self, face: Face, asked: dict[str, Any], line: Line) -> RawAnswer:
        number = len(self._batches)
        file = b"" if face.form == "anthropic" else self._files[face.source(asked)]
        lines = face.lines(asked, file)
        name = face.batch_names.format(number)
        batch = Batch(name, face, asked, face.token(asked), lines, self._endings(number))
        self._batches[name] = batch
        self.sizes.append(len(lines))
        self.tokens.append(batch.token)
        if batch.ending != "failed":
            self._answer(batch, line)
        return told(self._shown(batch, poll=False))

    def _answer(self, batch: Batch, line: Line) -> None:
        done: list[bytes] = []
        wrong: list[bytes] = []
        for number, asked in enumerate(batch.lines):
            late = batch.ending if batch.ending != "completed" and number % 2 else None
            status, body = (0, None) if late else line(asked["body"], batch.face.form)
            result = self._poison(asked, batch.face.result(asked, status, body, late))
            (done if status == 200 or not batch.face.separate else wrong).append(result)
        for kind, texts in (("output", done), ("error", wrong)):
            if texts:
                # Reversed, since the APIs promise no order of the lines.
                batch.files[kind] = self._keep(batch.face, b"\n".join(reversed(texts)))

    def _shown(self, batch: Batch, poll: bool = True) -> dict[str, Any]:
        shown = batch.face.shown(batch, batch.polls >= self.polls)
        batch.polls += poll
        return shown
