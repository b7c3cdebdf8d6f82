"""Options of the built-in metrics."""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen
class ResponseSettings:
    """Options of the metrics of a response."""

    of: Literal["answer", "reasoning", "whole"] = "answer"
    """Part of the response that is scored, where the chat template shows reasoning: the answer, the reasoning before
    it, or both. A response without reasoning is an answer."""


DEFAULT = ResponseSettings()
