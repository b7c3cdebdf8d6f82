"""A process that has loaded the framework, and forks itself for each piece of code that it is sent.

``python -m rt_framework.testing.fork_server`` reads requests from standard input and writes a reply to each, as lines
of JSON. It has one thread and has loaded no plugin, so each fork is as good as a new process that has imported the
framework, and begins in a fiftieth of the time. It ends when its standard input is closed: with the process that
started it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
from typing import Any


def serve() -> None:
    """Answer every request: ``code``, ``arguments``, ``env``, ``path`` and ``cwd`` of a process to fork."""
    importlib.import_module("rt_framework.testing.contracts")
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            if not (pid := os.fork()):
                _become(json.loads(line), out.fileno(), err.fileno())
            _, status = os.waitpid(pid, 0)
            written = [_text(file) for file in (out, err)]
        print(json.dumps([os.waitstatus_to_exitcode(status), *written]), flush=True)  # noqa: T201 - the protocol


def _become(request: dict[str, Any], out: int, err: int) -> None:
    """Run the code in this process, which was forked for it, and end the process."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for new, old in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(new, old)
    code = 1
    try:
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.path[:] = request["path"]
        sys.argv = ["-c", *request["arguments"]]
        importlib.invalidate_caches()
        exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own code
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8", "replace"))


if __name__ == "__main__":
    serve()
