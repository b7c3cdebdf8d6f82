"""Questions of a reflection for another service to answer, and its answers in the form that ``replay`` reads.

python elsewhere.py ask DATA REFLECTION > questions.jsonl
python elsewhere.py take < answered.jsonl > answers.jsonl
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import asdict

from rt_framework.cli.options import Builder, Data, Host, open_source
from rt_framework.protocols import Reflection


def ask(data: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield one question for each distinct pair: an id, chat messages, and the JSON schema of the answer."""
    host = Host()
    reflection: Reflection = Builder(host)("reflections", name)
    seen = set()
    for sample in open_source(host, Data(data)).samples():
        request = reflection.render(sample.original.pair, 0, True)
        if request.pair_hash not in seen:
            seen.add(request.pair_hash)
            messages = [asdict(turn) for turn in request.messages]
            yield {"id": f"{name}/{request.pair_hash}/0", "messages": messages, "schema": request.schema}


def take(answered: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a replay file, from objects with ``id``, ``text`` and perhaps ``finish_reason``."""
    for line in answered:
        reflection, pair, index = line["id"].split("/")
        reason = line.get("finish_reason", "stop")
        found = {"reflection": reflection, "pair": pair, "index": int(index)}
        yield {**found, "text": line["text"], "finish_reason": reason}


if __name__ == "__main__":
    rows = ask(*sys.argv[2:4]) if sys.argv[1] == "ask" else take(map(json.loads, sys.stdin))
    sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)
