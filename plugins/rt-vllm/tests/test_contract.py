"""The kit's contract of students behind a server."""

from __future__ import annotations

import pytest

from rt_framework.testing.contracts import ServedStudentContract


@pytest.fixture(autouse=True)
def _tokenizer(request, tokenizer):
    request.instance.tokenizer = tokenizer


class TestVllm(ServedStudentContract):
    plugin = "rt_vllm"
    name = "vllm"

    def options_for(self, url):
        return {"url": url, "tokenizer": self.tokenizer, "dtype": "float32", "timeout": 20}


class TestSglang(TestVllm):
    name = "sglang"
