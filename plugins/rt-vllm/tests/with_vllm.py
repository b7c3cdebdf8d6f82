"""Run a command beside a server of vLLM: ``python with_vllm.py PYTHON MODEL COMMAND…``.

PYTHON is that of an environment with vLLM, MODEL a directory with safetensors. The server computes in float32 on the
CPU. The command finds its address in RT_VLLM_URL, and the model in RT_VLLM_MODEL.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
MOST_SECONDS = 600


def main() -> int:
    """Start the server, wait until it answers, run the command, and end the server."""
    python, model, *command = sys.argv[1:]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    shape = ("--dtype", "float32", "--max-model-len", "2048", "--enforce-eager", "--no-enable-prefix-caching")
    words = ("-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port))
    with Path("vllm.log").open("wb") as log:
        server = subprocess.Popen(
            [python, *words, "--model", model, *shape], env=os.environ | QUIET, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait(server, url)
            return subprocess.call(command, env=os.environ | {"RT_VLLM_URL": url, "RT_VLLM_MODEL": model})
        finally:
            server.terminate()
            server.wait()


def wait(server: subprocess.Popen[bytes], url: str) -> None:
    """Return when the server answers."""
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            sys.exit(f"the server ended with code {server.returncode}; see vllm.log")
        try:
            urllib.request.urlopen(f"{url}/v1/models", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(1)
        else:
            return
    sys.exit(f"the server did not answer within {MOST_SECONDS} s; see vllm.log")


if __name__ == "__main__":
    sys.exit(main())
