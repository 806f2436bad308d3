"""An agent in plain Python: counts the words of what it is told.

    python examples/agents/agent.py          # PORT=9000 is the default
    OPENCLAW_AGENT_URL=http://127.0.0.1:9000/rpc/message

It shows all that the protocol asks of an agent: a health page, a stream as lines
of JSON, the whole history in each call, repeats answered from memory, and an end
to work when the gateway closes the connection. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REMEMBERED = 1000
MAX_BYTES = 64 * 1024 * 1024
WORD_SECONDS = 0.005

served: OrderedDict[str, str] = OrderedDict()
lock = threading.Lock()


class BadQuestion(Exception):
    """A request that is not a question."""


def read_question(body: bytes) -> dict[str, Any]:
    """The request. Fields that we do not know are left alone."""
    try:
        question = json.loads(body)
    except ValueError:
        raise BadQuestion("the body is not JSON") from None
    messages = question.get("messages") if isinstance(question, dict) else None
    if not isinstance(messages, list) or not messages:
        raise BadQuestion("messages must be a list with at least one message")
    if not all(isinstance(message, dict) for message in messages):
        raise BadQuestion("a message must be an object")
    return question


def compose(question: dict[str, Any]) -> str:
    """The answer to all that waits for one: the last `waiting` messages."""
    messages = question["messages"]
    waiting = messages[-int(question.get("waiting") or 1) :]
    texts = [str(one.get("content") or "") for one in waiting if one.get("role") == "user"]
    text = "\n".join(texts)
    return f"That is {len(text.split())} words in message {len(messages)}: {text}"


def remembered(key: str, question: dict[str, Any]) -> str:
    """The answer; the same once more where this key was served before."""
    with lock:
        answer = served.get(key) or compose(question)
        if key:
            served[key] = answer
            while len(served) > REMEMBERED:
                served.popitem(last=False)
    return answer


class Agent(BaseHTTPRequestHandler):
    """One connection, in a thread of its own."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health."""
        if self.path == "/health":
            self.whole(200, {"status": "ok"})
        else:
            self.whole(404, {"error": "not found"})

    def do_POST(self) -> None:
        """A turn."""
        try:
            size = int(self.headers.get("Content-Length", 0))
            if not 0 <= size <= MAX_BYTES:
                self.close_connection = True  # its body stays unread
                raise BadQuestion("too large")
            question = read_question(self.rfile.read(size))
        except (BadQuestion, ValueError) as error:
            self.whole(400, {"error": str(error)})
            return
        answer = remembered(self.headers.get("Idempotency-Key", ""), question)
        try:
            if question.get("stream"):
                self.stream(answer)
            else:
                self.whole(200, {"content": answer})
        except OSError:  # the gateway has closed the connection: the turn is cancelled
            self.close_connection = True

    def stream(self, answer: str) -> None:
        """Word by word, then all of it once more as the end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in words(answer):
            self.chunk({"type": "token", "text": word})
            time.sleep(WORD_SECONDS)  # where a model would think
        self.chunk({"type": "final", "content": answer})
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, event: dict[str, Any]) -> None:
        """One line."""
        line = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))

    def whole(self, status: int, data: dict[str, Any]) -> None:
        """One JSON object."""
        body = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what people write does not belong into a log."""


class Server(ThreadingHTTPServer):
    """A thread for each connection, ended with the program."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was reset while it was idle is nobody's error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def words(text: str) -> Iterator[str]:
    """The text in pieces that make it up again: at most 200, however long it is."""
    pieces = re.findall(r"\s*\S+|\s+$", text)
    step = max(1, len(pieces) // 200)
    for start in range(0, len(pieces), step):
        yield "".join(pieces[start : start + step])


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "9000"))
    print(f"listening on http://127.0.0.1:{port}/rpc/message", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        Server(("127.0.0.1", port), Agent).serve_forever()
