"""The HTTP part of the kit's servers: connections that can be broken off, and answers as they go over the wire."""

from __future__ import annotations

import os
import socket
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rt_framework.testing.wire import RawAnswer


class BreakableServer(ThreadingHTTPServer):
    """A server whose open connections can be closed at once.

    Args:
        owner: the kit's server, which handlers ask.
        handler: class that handles a request.
        port: port on 127.0.0.1; 0 for any that is free.
    """

    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, owner: Any, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, and handle it in a thread."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, and end it."""
        self.forget(request)
        super().shutdown_request(request)

    def forget(self, request: Any) -> None:
        """Forget a connection that is closed by other means."""
        self._open.discard(request)

    def handle_error(self, *_: object) -> None:
        """Ignore errors: a client that goes away is expected here."""

    def hang_up(self) -> None:
        """Close idle kept-alive connections, whose threads would wait for a next request."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that sends raw answers and logs nothing, since tests read the counts of its server."""

    server: BreakableServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def send_raw(self, answer: RawAnswer) -> None:
        """Send an answer, byte by byte if it has a pace."""
        self.wfile.write(answer.head())
        for piece in answer.pieces():
            self.wfile.write(piece)
            if answer.pace and self.server.owner.closing.wait(answer.pace):
                break
        self.close_connection = self.close_connection or answer.ends

    def reset(self) -> None:
        """Close the connection at once with a TCP reset, which a linger time of 0 causes."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.forget(self.connection)
        os.close(self.connection.detach())
