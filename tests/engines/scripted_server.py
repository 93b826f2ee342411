"""An OpenAI-compatible HTTP server on a free loopback port that follows a script."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers, body. Status 0: never answer."""


USAGE = {"completion_tokens": 5, "prompt_tokens": 12}


def completion(text: str = "fine", reason: str = "stop", usage: Any = USAGE) -> Reply:
    message = {"role": "assistant", "content": text}
    body = {"choices": [{"message": message, "finish_reason": reason}], **({"usage": usage} if usage else {})}
    return 200, {}, json.dumps(body).encode()


def error(status: int, message: str = "busy", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"error": {"message": message}}).encode()


class Scripted(ThreadingHTTPServer):
    """Answers the n-th chat completion with `script(n, body)`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Callable[[int, dict[str, Any]], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.over = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_GET(self) -> None:
        self._reply((200, {}, b'{"data": []}'))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.bodies)
            self.server.bodies.append(body)
            self.server.keys.append(self.headers.get("Authorization"))
            self.server.times.append(time.monotonic())
        self._reply(self.server.script(number, body))

    def _reply(self, reply: Reply) -> None:
        status, headers, body = reply
        if status == 0:
            self.server.over.wait(30)
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        return


@contextmanager
def serve(script: Callable[[int, dict[str, Any]], Reply]) -> Iterator[Scripted]:
    server = Scripted(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
