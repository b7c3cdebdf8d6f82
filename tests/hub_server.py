"""A stand-in of the Hugging Face hub: its HTTP interface for data sets, on this machine, with faults."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

from attrs import define, field, frozen


@frozen
class Asked:
    """A request that arrived."""

    host: str
    """``127.0.0.1`` for the hub, ``localhost`` for the host of large files."""
    method: str
    path: str
    token: str | None


@define
class Hub:
    """One data set, its commits, and what goes wrong."""

    name: str = "org/data"
    commits: dict[str, dict[str, bytes]] = field(factory=dict)
    """Files of each commit."""
    branches: dict[str, str] = field(factory=dict)
    refusal: tuple[int, str | None] | None = None
    """Status of every answer of the hub, with the code of the error."""
    cut: int | None = None
    """Number of bytes at which the content of a data file ends."""
    length_is_cut: bool = False
    """True if the header of a cut answer tells its own length and not that of the file."""
    moved: bool = False
    """True if the hub redirects every question about the data set to another host."""
    large: tuple[str, ...] = (".parquet",)
    """Endings of files that are kept on the host of large files."""
    asked: list[Asked] = field(factory=list)
    url: str = ""
    storage: str = ""

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit to a branch; return its hash."""
        content = json.dumps({name: hashlib.sha256(text).hexdigest() for name, text in files.items()}, sort_keys=True)
        commit = hashlib.sha1(f"{len(self.commits)} {content}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def downloads(self) -> list[str]:
        """Names of the files whose content was asked for, in order."""
        return [ask.path.split("/", 6)[-1] for ask in self.asked if ask.method == "GET" and "/resolve/" in ask.path]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve until the block ends: the hub under an address, and its large files under a name of another host."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    port = server.server_address[1]
    hub.url, hub.storage = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlparse(self.path).path)
        host = self.headers["Host"].split(":")[0]
        hub.asked.append(Asked(host, self.command, path, self.headers.get("Authorization")))
        if host == "localhost" and not path.startswith("/api/"):
            self._file(*self._found(path))
        elif host != "localhost" and hub.moved and path.startswith("/api/"):
            self._send(307, {"Location": hub.storage + self.path}, b"")
        elif hub.refusal is not None:
            status, code = hub.refusal
            self._send(status, {"X-Error-Code": code} if code else {}, b'{"error": "refused"}')
        elif path.startswith("/api/datasets/"):
            self._listing(path.removeprefix("/api/datasets/"))
        else:
            self._resolve(path)

    def _listing(self, path: str) -> None:
        hub = self.hub
        name, _, revision = path.partition("/revision/")
        commit = hub.branches.get(revision or "main", revision)
        if name != hub.name:
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"{}")
        elif commit not in hub.commits:
            self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
        else:
            files = [self._listed(file, content) for file, content in hub.commits[commit].items()]
            self._send(200, {}, json.dumps({"id": name, "sha": commit, "siblings": files}).encode())

    def _listed(self, name: str, content: bytes) -> dict[str, Any]:
        listed = {"rfilename": name, "size": len(content), "blobId": _git(content)}
        if name.endswith(self.hub.large):
            sha = hashlib.sha256(content).hexdigest()
            listed["lfs"] = {"size": len(content), "sha256": sha, "pointerSize": 130}
        return listed

    def _found(self, path: str) -> tuple[str, str, bytes | None]:
        """The commit, name and content of ``/datasets/ORG/NAME/resolve/COMMIT/FILE``."""
        _, _, rest = path.partition("/resolve/")
        commit, _, name = rest.partition("/")
        return commit, name, self.hub.commits.get(commit, {}).get(name)

    def _resolve(self, path: str) -> None:
        commit, name, content = self._found(path)
        if content is None:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b"")
        elif name.endswith(self.hub.large):
            sha = hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": commit}
            self._send(302, {"Location": self.hub.storage + path, **linked}, b"")
        else:
            self._file(commit, name, content)

    def _file(self, commit: str, name: str, content: bytes | None) -> None:
        content = content or b""
        headers = {"ETag": f'"{_git(content)}"', "X-Repo-Commit": commit}
        sent = content[: self.hub.cut] if name.endswith((".parquet", ".jsonl")) else content
        length = len(sent) if self.hub.length_is_cut else len(content)
        self._send(200, headers, sent, length)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        if length is not None and length != len(body):
            self.close_connection = True


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
