"""A student behind a server that gives the log-probabilities of a prompt's tokens, as vLLM does."""

import json
from functools import cached_property
from urllib.request import Request, urlopen

from attrs import frozen

from rt_framework import EncodedSpan, RtError, SpanLoss, hookimpl
from rt_framework.kit.encoding import ENCODING, Encoder

CANARY = EncodedSpan(tuple(range(2, 34)), 1)
"""Tokens whose loss tells models of one name apart."""


@frozen
class RemoteSettings:
    url: str
    """Address of the server, up to ``/v1``."""
    tokenizer: str
    """Hub id or directory of the model's tokenizer."""


@frozen(slots=False)
class RemoteStudent:
    settings: RemoteSettings
    reads_turns = True

    @cached_property
    def fingerprint(self):
        (canary,) = self.score([CANARY])
        if canary.nll is None:
            raise RtError(f"student remote: {self.settings.url}: {canary.reason}")
        return f"remote {self._model['id']} canary {canary.nll:.2f} encoding-{ENCODING}"

    def encode(self, spans):
        return self._encoder.encode(spans)

    def score(self, batch):
        body = {"prompt": [span.ids for span in batch], "prompt_logprobs": 0, "max_tokens": 1, "temperature": 0}
        try:
            told = self._told("completions", {"model": self._model["id"], **body})["choices"]
            return [_loss(span, choice["prompt_logprobs"]) for span, choice in zip(batch, told, strict=True)]
        except OSError as error:
            return [SpanLoss(None, 0, "unreachable", str(error)) for _ in batch]
        except (ValueError, LookupError, TypeError) as error:
            return [SpanLoss(None, 0, "no_prompt_logprobs", f"the answer lacks them: {error!r}") for _ in batch]

    @cached_property
    def _model(self):
        return self._told("models")["data"][0]

    @cached_property
    def _encoder(self):
        from transformers import AutoTokenizer

        # The server makes one more token, so the prompt has the window but for one.
        return Encoder.of(AutoTokenizer.from_pretrained(self.settings.tokenizer), self._model["max_model_len"] - 1)

    def _told(self, path, body=None):
        sent = None if body is None else json.dumps(body).encode()
        asked = Request(f"{self.settings.url}/{path}", sent, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=60) as answer:
            return json.load(answer)


def _loss(span, told):
    entries = [entry and entry[str(id_)] for id_, entry in zip(span.ids, told, strict=True)]
    found = [entries[position] for position in span.positions]
    nll = tuple(-entry["logprob"] for entry in found)
    return SpanLoss(sum(nll), len(nll), token_nll=nll, token_ranks=tuple(entry["rank"] for entry in found))


@hookimpl
def rt_register_students(register):
    register("remote", "remote:RemoteStudent", help="a model behind a server", settings=RemoteSettings)
