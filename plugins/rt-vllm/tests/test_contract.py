"""The kit's contract of students behind a server."""

from __future__ import annotations

from vllm_parts import tokenizer_folder

from rt_framework.testing.contracts import ServedStudentContract


class TestVllm(ServedStudentContract):
    plugin = "rt_vllm"
    name = "vllm"

    def options_for(self, url):
        return {"url": url, "tokenizer": tokenizer_folder(), "dtype": "float32", "timeout": 20}


class TestSglang(TestVllm):
    name = "sglang"
