"""Detection of refusals by their first words. Conservative, and English only."""

from __future__ import annotations

import re

_CANNOT = r"(?:\s+can't|\s+cannot|\s+can\s+not|\s+won't|\s+will\s+not|(?:\s+am|'m)\s+(?:unable|not\s+able)\s+to)"
_SERVE = (
    r"(?:access|answer|assist|browse|complete|comply|continue|create|discuss|do|engage|fulfil+|generate|give|help"
    r"|improve|offer|perform|process|produce|provide|respond|revise|rewrite|share|support|write)\b"
)
_SORRY = r"(?:(?:i'm|i\s+am)\s+(?:\w+\s+)?sorry|sorry|my\s+apologies|i\s+apologi[sz]e)"
_MODEL = (
    r"as\s+an?\s+(?:(?:ai|artificial\s+intelligence)(?:\s+(?:language\s+)?(?:model|assistant|system|chatbot))?"
    r"|(?:large\s+)?language\s+model)(?:\s+(?:built|created|developed|made|trained)\b[^,.\n]{0,40})?,?"
)
_LACK = r"\s+(?:don't|do\s+not)\s+have\s+(?:the\s+ability|the\s+capability|access)"
_REFUSAL = re.compile(
    rf"\W*(?:{_SORRY}\W+(?:but\s+)?(?:{_MODEL}\s+)?i{_CANNOT}(?:\s+{_SERVE}|\W*$)"
    rf"|{_MODEL}\s+i(?:{_CANNOT}|{_LACK})"
    rf"|i{_CANNOT}\s+(?:assist|comply|fulfil+|provide|answer|help\s+(?:you\s+)?with|do\s+(?:that|this)|continue\s+with))",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Return whether a text begins by declining to answer."""
    return _REFUSAL.match(text.replace("’", "'")) is not None
