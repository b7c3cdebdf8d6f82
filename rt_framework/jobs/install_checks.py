"""Checks of an installation for ``rt doctor``. Each check yields findings and raises none of the framework's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from rt_framework.config import Builder
from rt_framework.errors import RtError, StudentError
from rt_framework.hookspecs import singular
from rt_framework.kit.parts import Spec
from rt_framework.model import Finding
from rt_framework.plugin import Host
from rt_framework.protocols import AsyncStudent, is_served
from rt_framework.rundir import versions
from rt_framework.scoring import BatchLimits
from rt_framework.spans import EncodedSpan, Span, SpanLoss


def check_versions() -> Iterator[Finding]:
    """Report the versions of the installed packages."""
    for package, version in versions().items():
        yield Finding(package, version or "not installed", good=version is not None)


def check_device() -> Iterator[Finding]:
    """Report the devices on which a student would run."""
    try:
        import torch
    except ImportError as error:
        need = "the student hf and the teacher hf need it; a student behind a server does not"
        yield Finding("device", f"unknown, since torch cannot be imported: {error}; {need}", sure=False)
        return
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            name, memory = torch.cuda.get_device_name(number), torch.cuda.get_device_properties(number).total_memory
            yield Finding(f"cuda:{number}", f"{name}, {memory / 2**30:.0f} GiB")
    else:
        yield Finding("device", f"CPU, {torch.get_num_threads()} threads; no CUDA device")


def check_plugins(host: Host) -> Iterator[Finding]:
    """Check that every plugin loads, and that no name is offered twice."""
    try:
        host.load()
    except RtError as error:
        yield Finding("plugins", str(error), good=False)
        return
    broken = {failure.plugin for failure in host.failed}
    for plugin in host.discovered():
        if plugin.name not in broken:
            yield Finding(f"plugin {plugin.name}", f"{plugin.package} {plugin.version}")
    for failure in host.failed:
        yield Finding(f"plugin {failure.plugin}", str(failure), good=False)
    for kind, name, plugins in host.registry.clashes():
        yield Finding(f"{singular(kind)} {name}", f"offered by {' and '.join(plugins)}", good=False)


def check_student(host: Host, spec: Spec) -> Iterator[Finding]:
    """Check that a student loads and scores."""
    try:
        student: Any = Builder(host).spec("students", spec)
        (encoded,) = student.encode([Span("Hello", " world")])
        if not isinstance(encoded, EncodedSpan):
            yield Finding(str(spec), f"does not encode: {encoded.reason}", good=False)
            return
        if is_served(student):
            loss, many = asyncio.run(_asked(student, encoded)), f"{student.at_once} requests at once"
        else:
            (loss,), many = student.score([encoded]), f"{BatchLimits.of(student).batch_tokens} tokens a batch"
    except (RtError, StudentError) as error:
        yield Finding(str(spec), str(error), good=False)
        return
    good = loss.nll is not None
    yield Finding(str(spec), f"loss {loss.nll:.4f} over {loss.tokens} tokens" if good else str(loss.reason), good)
    yield Finding("forward path", f"{BatchLimits.of(student).path}; {many}")


async def _asked(student: AsyncStudent, span: EncodedSpan) -> SpanLoss:
    try:
        return await student.loss(span)
    finally:
        await student.aclose()
