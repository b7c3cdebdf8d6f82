"""DEITA's scores: the grade that a language model expects to read next. arXiv 2312.15685.

score = Σ k · P(k), k from 1 to 6, where P are the probabilities of the labels after the question, and of nothing
else: a softmax over the six. In a conversation each turn is scored alone, and the scores are added up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import frozen

from rt_framework import Loss, Pair, Range, Span, Unscorable, turns
from rt_framework.kit.fences import turn_text
from rt_framework.protocols import Frame
from rt_framework.text import visible

_LABELS = ("1", "2", "3", "4", "5", "6")


@frozen
class Grading:
    """A question that is answered by a grade."""

    name: str
    """Name of its losses. Another prompt needs another name."""
    prompt: str
    """Everything before the grade, with ``{instruction}`` and, where it is judged, ``{response}``."""

    def spans(self, pair: Pair) -> Mapping[str, Sequence[Span]]:
        """A span for each label and turn.

        Raises:
            Unscorable: what is to be graded is blank.
        """
        prompts = [self._asked(turn) for turn in turns(pair)]
        return {self._called(label): [Span(prompt, label, join="ids") for prompt in prompts] for label in _LABELS}

    def grades(self, losses: Mapping[str, Loss]) -> list[float]:
        """The expected grade of each turn, oldest first."""
        labels = (losses[self._called(label)].parts for label in _LABELS)
        return [_expected([float(part.nll or 0.0) for part in parts]) for parts in zip(*labels, strict=True)]

    def _called(self, label: str) -> str:
        return f"{self.name}={label}"

    def _asked(self, turn: Pair) -> str:
        shown = {"instruction": "\n".join(filter(None, (turn.instruction, turn.input))), "response": turn.response}
        judged = {**shown, "response": turn.answer}
        if turn.tool_calls:
            shown["response"] = judged["response"] = turn_text(turn.last)
        for part, text in judged.items():
            if f"{{{part}}}" in self.prompt and not visible(text):
                raise Unscorable("empty", f"the {part} is blank")
        return self.prompt.format(**shown)


def _expected(nll: Sequence[float]) -> float:
    """The mean grade under a softmax over the labels, from the negative log-likelihood of each in nats."""
    least = min(nll)
    weights = [math.exp(least - one) for one in nll]
    return math.fsum(grade * weight for grade, weight in enumerate(weights, 1)) / math.fsum(weights)


# What both questions begin with is computed once.
_REQUEST = "A request to an assistant:\n{instruction}\n\n"
_GRADE = "As a whole number from 1 to 6, where 1 is the lowest and 6 is the highest, I give:\n"

COMPLEXITY = Grading(
    "deita-complexity", f"{_REQUEST}How complex is this request, how much does a good response take?\n{_GRADE}"
)
"""Shows the instruction alone."""

QUALITY = Grading(
    "deita-quality",
    f"{_REQUEST}The assistant's response:\n{{response}}\n\nHow good is this response to the request?\n{_GRADE}",
)
"""Shows instruction and response."""


class Complexity:
    """Complexity of the instruction."""

    direction = "higher"
    valid = Range()
    grading = COMPLEXITY

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:  # noqa: ARG002 - a prompt of its own
        """Six labels a turn."""
        return self.grading.spans(pair)

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The grades of all turns, added up."""
        return math.fsum(self.grading.grades(losses))


class Quality(Complexity):
    """Quality of the response."""

    grading = QUALITY


class Evol:
    """The evol score: complexity × quality of each turn, added up."""

    direction = "higher"
    valid = Range()
    complexity = COMPLEXITY
    quality = QUALITY

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:  # noqa: ARG002 - prompts of its own
        """Twice six labels a turn."""
        return {**self.complexity.spans(pair), **self.quality.spans(pair)}

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The sum of the products."""
        grades = zip(self.complexity.grades(losses), self.quality.grades(losses), strict=True)
        return math.fsum(complexity * quality for complexity, quality in grades)
