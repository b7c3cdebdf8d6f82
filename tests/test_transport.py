"""The HTTP client of the paid teachers: what it sends where, how much it reads, and whom it leaves alone."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import tomllib
import tracemalloc
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from rt_framework.builtin.teachers.litellm import _channels, _litellm
from rt_framework.builtin.teachers.transport import MOST_BYTES, RecordingClient, exchanging, is_loopback
from rt_framework.errors import PluginError

REPO = Path(__file__).resolve().parent.parent


@contextmanager
def saying(*answers: bytes):
    """A server that gives these raw answers, one a connection; gives its port and what it received."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536))
                with suppress(OSError):  # a client may have heard enough
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.close()
        thread.join(5)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


async def post(port: int, **more: object):
    client = RecordingClient()
    with exchanging() as exchange:
        try:
            await client.post(f"http://127.0.0.1:{port}/v1", json={"prompt": "secret"}, **more)
        except httpx.RequestError as error:
            return exchange, error
        finally:
            await client.aclose()
    return exchange, None


async def test_status_and_body_are_noted_and_no_compression_is_asked_for():
    """The exchange keeps an answer as it arrived, also if it cannot be used later."""
    with saying(answer(b'{"a": 1}')) as (port, heard):
        exchange, error = await post(port)
    assert (exchange.status, exchange.body, error) == (200, b'{"a": 1}', None)
    assert b"accept-encoding: identity" in heard[0].lower()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_no_redirect_is_followed(status):
    """A prompt goes where the config says, or nowhere, even if a caller asks the client to follow."""
    with saying(answer(b"")) as (other, elsewhere):
        place = f"Location: http://127.0.0.1:{other}/v1"
        with saying(answer(b"", place, status=status)) as (port, heard):
            exchange, _ = await post(port, follow_redirects=True)
        assert (exchange.status, len(heard), elsewhere) == (int(status[:3]), 1, [])
        socket.create_connection(("127.0.0.1", other)).close()


async def test_an_attempt_is_one_request():
    """A second one, as a library sends by itself on some errors, does not go out; a new attempt does."""
    with saying(answer(b"1"), answer(b"2")) as (port, heard):
        client = RecordingClient()
        with exchanging() as exchange:
            await client.post(f"http://127.0.0.1:{port}")
            with pytest.raises(httpx.RequestError, match="one request"):
                await client.post(f"http://127.0.0.1:{port}")
        assert (exchange.body, len(heard)) == (b"1", 1)
        with exchanging():
            await client.post(f"http://127.0.0.1:{port}")
        await client.aclose()
        assert len(heard) == 2


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_has_a_limit(packed):
    """Too long a body is read up to the limit and no further, compressed or not: 300 MB of zeros take no memory."""
    body = gzip.compress(bytes(300_000_000), 9) if packed else bytes(MOST_BYTES + 100_000)
    with saying(answer(body, *(["Content-Encoding: gzip"] if packed else []))) as (port, _):
        tracemalloc.start()
        exchange, error = await post(port)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (exchange.status, len(exchange.body)) == (200, MOST_BYTES)
    assert "larger than 8 MB" in str(error)
    assert peak < 5 * MOST_BYTES


@pytest.mark.parametrize(
    ("body", "headers", "trouble"),
    [
        (b"not gzip", ["Content-Encoding: gzip"], "not valid gzip"),
        (b"anything", ["Content-Encoding: br"], "compressed as 'br'"),
        (b"[" * 300_000, [], "more than 200000 parts"),
    ],
)
async def test_a_body_that_is_not_what_it_says(body, headers, trouble):
    """It is noted what was wrong with it, under its real status."""
    with saying(answer(body, *headers)) as (port, _):
        exchange, error = await post(port)
    assert isinstance(error, httpx.RequestError)
    assert (exchange.status, trouble in exchange.trouble) == (200, True)


async def test_a_proxy_is_for_other_machines_only(monkeypatch):
    """Proxies of the environment see what goes to other machines, and nothing of what stays on this one."""
    with saying(answer(b"", status="502 Bad Gateway")) as (proxy, heard), saying(answer(b"{}")) as (port, direct):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        exchange, _ = await post(port)
        assert (exchange.status, heard, len(direct)) == (200, [], 1)
        client = RecordingClient()
        with pytest.raises(httpx.ProxyError):
            await client.post("https://provider.test/v1")
        await client.aclose()
        assert heard[0].startswith(b"CONNECT provider.test:443")


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.8.7", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_loopback(host, here):
    """The whole loopback range is this machine, and only names that cannot be another one."""
    assert is_loopback(host) is here


async def test_a_line_that_is_too_long_is_left_out():
    """A file of answers may be larger than memory: its lines come one by one, without those over the limit."""
    body = b"first\n" + b"x" * 5000 + b"\nlast line"
    with saying(answer(body)) as (port, _):
        client = RecordingClient()
        with exchanging() as exchange:
            request = client.build_request("GET", f"http://127.0.0.1:{port}/files")
            lines = [line async for line in client.lines(request, 100)]
        await client.aclose()
    assert (lines, exchange.status) == ([b"first", b"last line"], 200)


# --- litellm ----------------------------------------------------------------------------------


def test_other_users_of_litellm_keep_their_clients(monkeypatch):
    """Only within an attempt of ours does litellm make its clients with our transport under them."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789abcdef")
    channels, litellm = _channels(), _litellm()
    channel = channels.Channel()
    maker = litellm.main.openai_chat_completions
    asked = {"is_async": True, "api_key": "k", "api_base": "http://127.0.0.1:9", "max_retries": 2}
    before = maker._get_openai_client(**asked)
    with channel.attempt():
        ours = maker._get_openai_client(**asked, client=channel.handler)
    after = maker._get_openai_client(**asked)
    assert ours._client is channel.client
    assert before._client is not channel.client
    assert (after, after.max_retries, ours.max_retries) == (before, 2, 0)
    assert type(litellm.module_level_aclient).single_connection_post_request.__module__.startswith("litellm")


def test_a_litellm_without_what_we_rely_on_is_refused_loudly(monkeypatch):
    """A release in which the clients are made elsewhere would be paid for without our transport: it is not used."""
    channels = _channels()

    class Moved:
        """A class that has lost its method."""

    monkeypatch.setattr(channels, "_MAKERS", ((Moved, "_get_openai_client"),))
    with pytest.raises(PluginError, match=r"litellm has no Moved\._get_openai_client"):
        channels._divert.__wrapped__()


def test_the_upper_bound_of_litellm_is_the_release_that_is_tested():
    """The bound in the requirements is what the constraints install."""
    wanted = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["dependencies"]
    (litellm,) = [one for one in wanted if one.startswith("litellm")]
    (bound,) = re.findall(r"<=([\d.]+)", litellm)
    assert f"litellm=={bound}" in (REPO / "constraints.txt").read_text().splitlines()
