"""Students that run behind a server: one of vLLM, or one of SGLang."""

from __future__ import annotations

from rt_framework import hookimpl
from rt_framework.hookspecs import Register
from rt_vllm.settings import ServerSettings

RT_PLUGIN_API = (2, 0)


@hookimpl
def rt_register_students(register: Register) -> None:
    """The students behind a server."""
    for name, target, server in (("vllm", "vllm:VllmStudent", "vLLM"), ("sglang", "sglang:SglangStudent", "SGLang")):
        register(name, f"rt_vllm.{target}", help=f"a model behind a server of {server}", settings=ServerSettings)
