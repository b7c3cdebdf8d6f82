"""Rows that packs have for a sample or a preference, in the messages that chat templates read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rt_framework.errors import DataError, Unscorable
from rt_framework.export.preferences import Preference
from rt_framework.kit.tokenizing import template_message
from rt_framework.kit.turns import turns
from rt_framework.model import Pair, Turn

Row = Mapping[str, Any]


class Unfit(Exception):
    """A sample that a pack cannot hold. The text is the reason, as it stands behind the number of such samples."""


# --- trained turns ----------------------------------------------------------------------------


def trained_turns(pair: Pair) -> list[Pair]:
    """Return each trained turn of a sample, with the turns before it: those that its score counts.

    Raises:
        Unfit: there is none, or one has no user turn before it, so that the sample has no score.
    """
    try:
        return list(turns(pair))
    except Unscorable as error:
        why = "without a trained turn" if error.status == "untrained" else "with a trained turn before any user turn"
        raise Unfit(why) from None


def conversation(pair: Pair) -> tuple[Turn, ...]:
    """Return the turns of a sample up to its last trained one.

    Raises:
        Unfit: as :func:`trained_turns`.
    """
    last = trained_turns(pair)[-1]
    return (*last.before, last.last)


def trains_all(pair: Pair) -> bool:
    """Return whether every assistant turn is trained, up to the last trained one; true of a sample without any."""
    try:
        return all(turn.trained for turn in conversation(pair) if turn.role == "assistant")
    except Unfit:
        return True


def goes_on(pair: Pair) -> bool:
    """Return whether turns follow the last trained one, which no pack for fine-tuning holds."""
    return bool(pair.after) or not pair.trained


# --- rows -------------------------------------------------------------------------------------


def with_tools(row: Row, pair: Pair) -> Row:
    """Return a row with the tools of a sample as JSON text, which loaders do not change; as it is without tools.

    Raises:
        Unfit: a tool is no JSON.
    """
    try:
        tools = [json.loads(tool) for tool in pair.tools]
    except (ValueError, RecursionError):
        raise Unfit("with tools that are no JSON") from None
    return {**row, "tools": json.dumps(tools, ensure_ascii=False)} if tools else row


def _messages(those: Iterable[Turn]) -> list[dict[str, Any]]:
    return [template_message(turn) for turn in those]


def prompt_completions(pair: Pair) -> list[Row]:
    """Return a row for each trained turn: the messages before it, and it alone."""
    return [
        with_tools({"prompt": _messages(turn.before), "completion": [template_message(turn.last)]}, turn)
        for turn in trained_turns(pair)
    ]


def all_trained(pair: Pair) -> list[Row]:
    """Return the conversation as one row, for a trainer that trains every assistant turn.

    Raises:
        DataError: an assistant turn is not trained.
    """
    if not trains_all(pair):
        raise DataError(
            "pack 'trl-messages' trains every assistant turn, and a conversation has one that is not to be trained: "
            "take pack 'trl', which trains exactly the turns that were scored, or score and train all (trained: all)"
        )
    return [with_tools({"messages": _messages(conversation(pair))}, pair)]


def marked_messages(pair: Pair) -> list[Row]:
    """Return the conversation as one row, with the mark ``train`` on every message, as axolotl reads it."""
    return [with_tools({"messages": [_marked(turn) for turn in conversation(pair)]}, pair)]


def _marked(turn: Turn) -> dict[str, Any]:
    message = template_message(turn)
    for call, own in zip(message.get("tool_calls", ()), turn.tool_calls, strict=True):
        # axolotl removes every null that it reads and parses a text, so that only a text keeps nulls in arguments.
        if call["function"]["arguments"] == own.arguments:
            raise Unfit("with arguments of a call that are no JSON")
        call["function"]["arguments"] = own.arguments
    return {**message, "train": turn.trained}


# --- rows of preferences ----------------------------------------------------------------------


def why(preference: Preference) -> Row:
    """Return the columns that say how a preference was decided."""
    scores = {"chosen_score": preference.chosen_score, "rejected_score": preference.rejected_score}
    return {"stage": preference.stage, "metric": preference.metric, **scores}


def trl_preference(preference: Preference) -> list[Row]:
    """Return the row of a preference, with all of its columns as messages."""
    chosen, rejected = ([template_message(pair.last)] for pair in (preference.chosen, preference.rejected))
    row = {"prompt": _messages(preference.chosen.before), "chosen": chosen, "rejected": rejected, **why(preference)}
    return [with_tools(row, preference.chosen)]


def axolotl_preference(preference: Preference) -> list[Row]:
    """Return the row of a preference, in which axolotl reads the role and the text of each message.

    Raises:
        Unfit: a message or the sample has more than that.
    """
    chosen, rejected = preference.chosen, preference.rejected
    those: Sequence[Turn] = (*chosen.before, chosen.last, rejected.last)
    if chosen.tools or any(turn.reasoning or turn.tool_calls or turn.role == "developer" for turn in those):
        raise Unfit("with tools, reasoning apart or a developer turn, which axolotl does not read in preferences")
    two = {"chosen": template_message(chosen.last), "rejected": template_message(rejected.last)}
    return [{"messages": _messages(chosen.before), **two, **why(preference)}]
