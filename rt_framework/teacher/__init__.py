"""Teacher calls, each paid for once: look-up in the ledger, budget, rate limit, sending and parsing."""

from rt_framework.teacher.accounts import Accounts
from rt_framework.teacher.answers import Answers, call_key, found_elsewhere
from rt_framework.teacher.asking import followed, most_own_tokens, parsed, rendered, steps_of
from rt_framework.teacher.attempts import budget_of
from rt_framework.teacher.budget import check_priced, is_priced, price_of
from rt_framework.teacher.client import TeacherClient, lineage
from rt_framework.teacher.fallbacks import AskedTeacher, HandoverLog, clients_of
from rt_framework.teacher.purse import Purse
from rt_framework.teacher.reasoning import has_more_room, reasoning_tokens_of
from rt_framework.teacher.sending import Answer, Sending

__all__ = [
    "Accounts",
    "Answer",
    "Answers",
    "AskedTeacher",
    "HandoverLog",
    "Purse",
    "Sending",
    "TeacherClient",
    "budget_of",
    "call_key",
    "check_priced",
    "clients_of",
    "followed",
    "found_elsewhere",
    "has_more_room",
    "is_priced",
    "lineage",
    "most_own_tokens",
    "parsed",
    "price_of",
    "reasoning_tokens_of",
    "rendered",
    "steps_of",
]
