"""A mirror on this machine that can be told to misbehave."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Mirror:
    """What is served under every path.

    Args:
        content: the file.
        resumes: whether it answers requests for a range with 206.
        cut_after: bytes of a response after which the connection breaks, for as many responses as there are numbers.
        sized: whether responses tell their length.
        silent: whether it accepts connections and never answers.
        address: where it listens, filled in by `serving`.
        ranges: the Range header of each request so far.

    """

    content: bytes
    resumes: bool = True
    cut_after: list[int] = field(default_factory=list)
    sized: bool = True
    silent: bool = False
    address: str = ""
    ranges: list[str | None] = field(default_factory=list)


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    """The mirror, answering from a thread meanwhile."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            mirror.ranges.append(asked)
            if mirror.silent:
                over.wait()
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and mirror.resumes else 0
            if start and start >= len(mirror.content):
                self.send_error(416)
                return
            body = mirror.content[start:]
            self.send_response(206 if start else 200)
            if mirror.sized:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: mirror.cut_after.pop(0)] if mirror.cut_after else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    mirror.address = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield mirror
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
