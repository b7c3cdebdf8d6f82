"""The published text templates. Their wording is frozen, because every published score depends on it."""

from __future__ import annotations

from attrs import frozen

from rt_framework.errors import Unscorable
from rt_framework.kit.fences import turn_text
from rt_framework.model import Pair, Turn


def guess(pair: Pair) -> str:
    """Return the published instruction that asks for the instruction of the pair's answer (arXiv 2402.10110).

    The answer is shown without its reasoning, which restates the question, and calls of tools as JSON.
    """
    answer = turn_text(Turn("assistant", pair.answer, tool_calls=pair.tool_calls))
    return (
        "Below is the response to an instruction, please guess the corresponding instruction for the given response.\n"
        f"{answer}\nGenerate the instruction for the above response."
    )


@frozen
class TextTemplate:
    """Template of a prompt, with and without input, as fixed text around the words of the pair."""

    name: str
    preamble: str
    preamble_input: str
    """Preamble when there is an input."""
    before: str
    between: str
    """Text between instruction and input."""
    after: str
    response: str
    """Response header."""

    def prompt(self, pair: Pair) -> str:
        """Return everything before the response.

        Raises:
            Unscorable: the pair has earlier turns, tools or reasoning apart, for which these templates have no form.
        """
        if pair.history or pair.since:
            raise Unscorable("conversation", f"template '{self.name}' shows one turn only; use template 'chat'")
        if pair.tools or pair.tool_calls or pair.reasoning:
            raise Unscorable(
                "conversation", f"template '{self.name}' shows neither tools nor reasoning; use template 'chat'"
            )
        return self._single(pair)

    def reverse(self, pair: Pair) -> str:
        """Return g(y): the request to guess, as an instruction without input."""
        return self._single(Pair(guess(pair)))

    def header(self) -> str:
        """Return the response header alone."""
        return self.response.strip()

    def _single(self, pair: Pair) -> str:
        question = f"{pair.instruction}{self.between}{pair.input}" if pair.input else pair.instruction
        preamble = self.preamble_input if pair.input else self.preamble
        if pair.system is not None:
            preamble = f"{pair.system}\n\n{preamble}"
        return f"{preamble}{self.before}{question}{self.after}{self.response}"


def alpaca() -> TextTemplate:
    """Return the two prompts of Stanford Alpaca."""
    task = "Below is an instruction that describes a task"
    write = "Write a response that appropriately completes the request."
    return TextTemplate(
        "alpaca",
        preamble=f"{task}. {write}\n\n",
        preamble_input=f"{task}, paired with an input that provides further context. {write}\n\n",
        before="### Instruction:\n",
        between="\n\n### Input:\n",
        after="\n\n",
        response="### Response:",
    )


def vicuna() -> TextTemplate:
    """Return Vicuna's single-turn prompt."""
    preamble = (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions. "
    )
    return TextTemplate("vicuna", preamble, preamble, "USER: ", "\nInput:\n", " ", "ASSISTANT:")


def wizardlm() -> TextTemplate:
    """Return WizardLM's prompt."""
    return TextTemplate("wizardlm", "", "", "", "\n", "\n\n", "### Response:")


def none() -> TextTemplate:
    """Return Superfiltering's prompt: instruction, newline, input, newline."""
    return TextTemplate("none", "", "", "", "\n", "\n", "")
