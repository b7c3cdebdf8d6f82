"""The common part of students behind a server: who they are, how they encode, and how they answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from rt_framework import EncodedSpan, Reply, Request, Span, SpanLoss, TeacherError, Usage
from rt_framework.errors import ConfigError, ModelError, StudentError
from rt_framework.kit.at_work import AT_WORK
from rt_framework.kit.encoding import ENCODING, Encoder
from rt_framework.kit.messages import message_of
from rt_vllm.settings import ServerSettings
from rt_vllm.wire import Failure, Wire

_NOISE = {"float32": 1e-3}
"""Nats per token by which two losses of one sequence may differ, by number format."""
_MOST_NOISE = 0.05
"""The same for formats of 16 bits and less: batches of other sizes add up in another order."""

_FILES = (
    "tokenizer*",
    "chat_template*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
)
"""Files of a model that decide how texts become token ids."""

_BYTES_A_TOKEN = 1024
_BYTES = 1_000_000

_OF_TEACHERS = {"unreadable": "paid_unreadable"}
"""Kinds of failure that teachers name otherwise."""


class ServedStudent:
    """Student whose losses and answers a server computes. Subclasses know what a kind of server is asked.

    Args:
        settings: address, model, and what the server does not tell.
    """

    kind: ClassVar[str]
    """Name of the kind of server."""
    version_at: ClassVar[str]
    """Path at which the server tells its version."""
    structured = True
    reads_turns = True

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.wire = Wire(settings)

    # --- who it is --------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """Identity of server, model, tokenizer, chat template, window, stated dtype and encoding. Asks the server.

        Raises:
            ModelError: the server cannot be reached, or does not serve the model.
        """
        release = ".".join(metadata.version("transformers").split(".")[:2])
        files = sorted({file for pattern in _FILES for file in self._tokenizer_folder.glob(pattern)})
        tokenizer = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files))
        rules = f"{self.settings.dtype} window-{self.window} encoding-{ENCODING} transformers-{release}"
        roots = self.root if self.root == self.base_root else f"{self.base_root} adapter {self.root}"
        return f"{self.kind} {self.version} {roots} tokenizer {tokenizer.hexdigest()[:16]} {rules}"

    @property
    def at_once(self) -> int:
        """Most requests under way at once."""
        return self.settings.at_once

    @property
    def noise(self) -> float:
        """Nats per token by which two losses of one sequence may differ with the requests beside it."""
        return _NOISE.get(self.settings.dtype, _MOST_NOISE)

    @property
    def path(self) -> str:
        """Description of the server that computes the losses."""
        return (
            f"{self.kind} {self.version}, {self.settings.dtype} as configured, up to {self.window} tokens; a request "
            f"for each sequence, of which two losses may differ by {self.noise:g} nats a token"
        )

    @cached_property
    def version(self) -> str:
        """Version of the server; ``unknown`` where it does not tell.

        Raises:
            ModelError: the server cannot be reached.
        """
        told = self.wire.look_up(self.version_at)
        return str(told.get("version", "unknown")) if isinstance(told, dict) else "unknown"

    @cached_property
    def model(self) -> Mapping[str, Any]:
        """The model that is asked, as the server describes it.

        Raises:
            ModelError: the server cannot be reached, or does not serve it.
            ConfigError: it serves several, and none is named.
        """
        told = self.wire.look_up("/v1/models")
        served = told.get("data") if isinstance(told, dict) else None
        found = {one["id"]: one for one in served or () if isinstance(one, dict) and isinstance(one.get("id"), str)}
        if not found:
            raise ModelError(f"{self.settings.base}: the server names no model; is it one of {self.kind}?")
        name = self.settings.model
        if name is None and len(found) > 1:
            raise ConfigError(f"{self.settings.base} serves {', '.join(found)}; name one of them as 'model'")
        if name is not None and name not in found:
            raise ModelError(f"{self.settings.base} does not serve '{name}', only {', '.join(found)}")
        chosen = found[name] if name is not None else next(iter(found.values()))
        base = found.get(str(chosen.get("parent")), chosen)
        # An adapter's entry names its base, which has the window and the tokenizer.
        return {**chosen, "base": base.get("root") or base["id"], "max_model_len": base.get("max_model_len")}

    @property
    def name(self) -> str:
        """Name of the model at the server."""
        return str(self.model["id"])

    @property
    def root(self) -> str:
        """Hub id or directory of the model's weights, by the server's own statement."""
        return str(self.model.get("root") or self.model["id"])

    @property
    def base_root(self) -> str:
        """The same of the model that an adapter is for; of any other model its own."""
        return str(self.model["base"])

    @property
    def window(self) -> int:
        """Longest sequence in tokens of which the server gives all losses.

        Raises:
            ModelError: the server does not tell.
        """
        longest = self.model.get("max_model_len")
        if not isinstance(longest, int) or longest < 2:
            raise ModelError(
                f"{self.settings.base}: the server does not tell its longest sequence (max_model_len), so it is no "
                f"{self.kind}; llama.cpp, TGI, LMDeploy and 'transformers serve' give no losses of a prompt's tokens"
            )
        # The server makes one more token, for which there has to be room.
        return longest - 1

    # --- losses -----------------------------------------------------------------------------

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """Return the token ids of each span, or a result that says why there are none.

        Raises:
            ModelError: the tokenizer cannot be loaded.
        """
        return self._encoder.encode(spans)

    async def loss(self, span: EncodedSpan) -> SpanLoss:
        """Return the loss of one sequence.

        Raises:
            StudentError: with the kind of failure.
        """
        if span.count_only:
            return SpanLoss(None, len(span.positions))
        path, body = self.question(span)
        try:
            told = await self.wire.post(path, body, _BYTES + _BYTES_A_TOKEN * len(span.ids))
        except Failure as failure:
            if failure.kind == "too_long":
                # The sequence fits the window that the server stated, so it has another one by now.
                return SpanLoss(
                    None, 0, "server_no_room", f"the server has no room for {len(span.ids)} tokens: {failure}"
                )
            raise StudentError(failure.kind, failure.message, failure.retry_after) from failure
        return self.told(span, told)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.wire.aclose()

    def question(self, span: EncodedSpan) -> tuple[str, Mapping[str, Any]]:
        """Return path and body of the request for the losses of a sequence."""
        raise NotImplementedError

    def told(self, span: EncodedSpan, answer: Any) -> SpanLoss:
        """Return the loss in an answer; ``no_prompt_logprobs`` if it is not what was asked for."""
        raise NotImplementedError

    @cached_property
    def _tokenizer_folder(self) -> Path:
        """Directory with the files of the tokenizer, which are downloaded from the hub if need be."""
        name = self.settings.tokenizer or self.base_root
        if Path(name).is_dir():
            return Path(name)
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(name, revision=self.settings.revision, allow_patterns=list(_FILES)))
        except Exception as error:
            raise self._no_tokenizer(error) from error

    def _no_tokenizer(self, error: Exception) -> ModelError:
        name = self.settings.tokenizer or self.base_root
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return ModelError(f"the tokenizer of '{name}' cannot be loaded: {reason}; name one as 'tokenizer'")

    @cached_property
    def _encoder(self) -> Encoder:
        try:
            with AT_WORK:
                from transformers import AutoTokenizer

                tokenizer = AutoTokenizer.from_pretrained(self._tokenizer_folder)
        except ModelError:
            raise
        except Exception as error:
            raise self._no_tokenizer(error) from error
        return Encoder.of(tokenizer, self.window)

    # --- answers ----------------------------------------------------------------------------

    async def answer(self, request: Request) -> Reply:
        """Answer one request, held to its JSON schema by the server.

        Raises:
            TeacherError: with the kind of failure.
        """
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [message_of(turn) for turn in request.messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if request.schema is not None:
            schema = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        try:
            told = await self.wire.post("/v1/chat/completions", body, _BYTES + _BYTES_A_TOKEN * sampling.max_tokens)
        except Failure as failure:
            kind = _OF_TEACHERS.get(failure.kind, failure.kind)
            raise TeacherError(kind, failure.message, failure.retry_after, billed="no") from failure
        return _reply(told, self.root)


def _reply(told: Any, model: str) -> Reply:
    """Return the reply in a chat completion.

    Raises:
        TeacherError: there is none in it.
    """
    try:
        (choice,), used = told["choices"], told.get("usage") or {}
        text, ended = choice["message"].get("content") or "", choice.get("finish_reason") or "stop"
        usage = Usage(int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise TeacherError("paid_unreadable", f"the answer is no chat completion: {error!r}", billed="no") from error
    return Reply(str(text), str(ended), usage, model)


def lacking(reason: str) -> SpanLoss:
    """Return the result for an answer without the loss of each target token, which never becomes a number."""
    return SpanLoss(None, 0, "no_prompt_logprobs", reason)
