"""Agents with one fault each: real HTTP servers that are right about everything else.

By hand: `python -m tests.fakes.broken_agents two_finals --port 9001`, and then
`manage.py check_agent http://127.0.0.1:9001/rpc/message`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

Handle = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One call. A good agent, but for the server's fault."""

    protocol_version = "HTTP/1.1"
    server: BrokenServer
    question: dict[str, Any]
    key = ""

    def do_GET(self) -> None:
        """`/health`."""
        if self.server.fault == "no_health":
            self.send_error(404)
        elif self.server.fault == "sick":
            self.whole(503, b'{"status": "tired"}')
        else:
            self.whole(200, b'{"status": "ok"}')

    def do_POST(self) -> None:
        """`/rpc/message`."""
        body = self.read_body()
        if body is None:
            return
        try:
            self.question = json.loads(body)
            if not isinstance(self.question["messages"], list):
                raise TypeError
        except (ValueError, TypeError, KeyError):
            BAD.get(self.server.fault, refuse)(self)
            return
        self.key = self.headers.get("Idempotency-Key", "")
        FAULTS.get(self.server.fault, answer_well)(self)

    def read_body(self) -> bytes | None:
        """All of it; two faults do not wait for all of it."""
        size = int(self.headers.get("Content-Length", 0))
        if self.server.fault == "impatient":
            self.connection.settimeout(0.45)
            try:
                return self.rfile.read(size)
            except TimeoutError:
                self.close_connection = True
                return None
        if self.server.fault == "reads_once":
            return self.rfile.read1(size)
        return self.rfile.read(size)

    def end_headers(self) -> None:
        """A server of one connection at a time keeps none."""
        if self.server.fault == "serial":
            self.send_header("Connection", "close")
        super().end_headers()

    @property
    def text(self) -> str:
        """The answer: the words of the last message."""
        last = self.question["messages"][-1]["content"] if self.question["messages"] else ""
        return f"You said: {last}"

    @property
    def streamed(self) -> bool:
        """Whether a stream is asked for."""
        return bool(self.question.get("stream"))

    def whole(self, status: int, body: bytes, kind: str = "application/json", **more: str) -> None:
        """One response with a length."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self, kind: str = "application/x-ndjson") -> None:
        """A response in chunks."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        """A piece of it."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def line(self, name: str, **data: Any) -> None:
        """An event."""
        self.chunk(line(name, **data))

    def tokens(self, text: str) -> None:
        """The text, word by word."""
        for word in text.split(" "):
            self.line("token", text=word if word == text.split(" ")[0] else f" {word}")

    def end(self) -> None:
        """The end of the response."""
        self.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """The end of the connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class BrokenServer(ThreadingHTTPServer):
    """The server, with what its calls wrongly share."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, fault: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.fault = fault
        self.last = ""
        self.lock = threading.Lock()
        self.seen: set[str] = set()
        self.stuck = False
        self.stopped = threading.Event()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, unless the fault is not to."""
        if self.fault == "serial":
            HTTPServer.process_request(self, request, client_address)
        else:
            super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What breaks is meant to."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}/rpc/message"


def line(name: str, **data: Any) -> bytes:
    """An event as a line."""
    return json.dumps({"type": name, **data}, ensure_ascii=False).encode() + b"\n"


def answer_well(call: Handler) -> None:
    """As docs/agent-protocol.md says."""
    say(call, call.text)


def say(call: Handler, text: str) -> None:
    """This text, in the form that was asked for."""
    if not call.streamed:
        call.whole(200, json.dumps({"content": text}).encode())
        return
    call.begin()
    call.tokens(text)
    call.line("final", content=text)
    call.end()


def refuse(call: Handler) -> None:
    """What cannot be read."""
    call.whole(400, b'{"error": "not a question"}')


def in_streams(fault: Handle) -> Handle:
    """A fault of streams only."""
    return lambda call: fault(call) if call.streamed else answer_well(call)


def _never_ends(call: Handler) -> None:
    call.begin()
    call.tokens(call.text)
    call.line("final", content=call.text)
    call.server.stopped.wait(30)


def _no_final(call: Handler) -> None:
    call.begin()
    call.tokens(call.text)
    call.end()


def _two_finals(call: Handler) -> None:
    call.begin()
    call.tokens(call.text)
    call.line("final", content=call.text)
    call.line("final", content=call.text)
    call.end()


def _talks_on(call: Handler) -> None:
    call.begin()
    call.tokens(call.text)
    call.line("final", content=call.text)
    call.line("token", text=" And another thing.")
    call.end()


def _other_tokens(call: Handler) -> None:
    call.begin()
    call.tokens("Something else entirely.")
    call.line("final", content=call.text)
    call.end()


def _closes_in_token(call: Handler) -> None:
    call.begin()
    call.line("token", text="You ")
    call.chunk(b'{"type": "token", "te')
    call.cut()


def _broken_line(call: Handler) -> None:
    call.begin()
    call.chunk(b'{"type": "token", "text": \n')
    call.end()


def _token_without_text(call: Handler) -> None:
    call.begin()
    call.line("token", content=call.text)
    call.line("final", content=call.text)
    call.end()


def _only_errors(call: Handler) -> None:
    call.begin()
    call.line("error", message="no", retryable=False)
    call.end()


def _declares_json(call: Handler) -> None:
    call.begin("application/json")
    call.tokens(call.text)
    call.line("final", content=call.text)
    call.end()


def _mixes(call: Handler) -> None:
    call.server.last = call.text
    time.sleep(0.3)
    say(call, call.server.last)


def _ascii_only(call: Handler) -> None:
    say(call, call.text.encode("ascii", "replace").decode())


def _basic_plane_only(call: Handler) -> None:
    say(call, "".join(char if ord(char) < 0x10000 else "?" for char in call.text))


def _latin_1(call: Handler) -> None:
    body = json.dumps({"content": call.text}, ensure_ascii=False).encode("latin-1", "replace")
    if call.streamed:
        answer_well(call)
    else:
        call.whole(200, body)


def _half_a_pair(call: Handler) -> None:
    if call.streamed:
        call.begin()
        call.chunk(b'{"type": "final", "content": "half \\ud83d of it"}\n')
        call.end()
    else:
        answer_well(call)


def _stuck_after_cancel(call: Handler) -> None:
    if call.server.stuck:
        call.server.stopped.wait(30)
        return
    if not call.streamed or "story" not in call.text:
        answer_well(call)
        return
    try:
        call.begin()
        for _ in range(100):
            call.line("token", text="word ")
            time.sleep(0.01)
    except OSError:
        call.server.stuck = True
        raise


def _small_memory(call: Handler) -> None:
    if len(call.question["messages"]) > 500:
        call.cut()
    else:
        answer_well(call)


def _refuses_large(call: Handler) -> None:
    if len(call.question["messages"]) > 500:
        call.whole(413, b'{"error": "too much"}')
    else:
        answer_well(call)


def _refuses_repeats(call: Handler) -> None:
    if call.key in call.server.seen:
        call.whole(500, b'{"error": "duplicate key"}')
        return
    call.server.seen.add(call.key)
    answer_well(call)


def _html(call: Handler) -> None:
    call.whole(200, b"<html><h1>It works!</h1></html>", "text/html")


def _no_type(call: Handler) -> None:
    call.whole(200, json.dumps({"content": call.text}).encode(), "application/octet-stream")


def _gzip(call: Handler) -> None:
    call.whole(
        200, json.dumps({"content": call.text}).encode(), "application/json", Content_Encoding="br"
    )


def _blank(call: Handler) -> None:
    call.whole(200, b'{"content": ""}')


def _redirects(call: Handler) -> None:
    call.whole(307, b"", Location="/elsewhere")


def _one_message_only(call: Handler) -> None:
    if len(call.question["messages"]) != 1:
        call.whole(422, b'{"error": "one message, please"}')
    else:
        answer_well(call)


def _strict(call: Handler) -> None:
    known = {"sessionId", "messages", "stream", "turnId", "channel", "userId", "chatId"}
    if set(call.question) - known - {"origin", "context", "waiting"}:
        call.whole(422, b'{"error": "unknown field"}')
    else:
        answer_well(call)


def _one_at_a_time(call: Handler) -> None:
    with call.server.lock:
        time.sleep(0.12)
        answer_well(call)


def _silent_server(call: Handler) -> None:
    call.server.stopped.wait(30)


FAULTS: dict[str, Handle] = {
    "never_ends": in_streams(_never_ends),
    "no_final": in_streams(_no_final),
    "two_finals": in_streams(_two_finals),
    "talks_on": in_streams(_talks_on),
    "other_tokens": in_streams(_other_tokens),
    "closes_in_token": in_streams(_closes_in_token),
    "broken_line": in_streams(_broken_line),
    "token_without_text": in_streams(_token_without_text),
    "only_errors": in_streams(_only_errors),
    "declares_json": in_streams(_declares_json),
    "mixes_sessions": _mixes,
    "ascii_only": _ascii_only,
    "basic_plane_only": _basic_plane_only,
    "latin_1": _latin_1,
    "half_a_pair": _half_a_pair,
    "stuck_after_cancel": _stuck_after_cancel,
    "small_memory": _small_memory,
    "refuses_large": _refuses_large,
    "refuses_repeats": _refuses_repeats,
    "html": _html,
    "no_type": _no_type,
    "compresses": _gzip,
    "blank": _blank,
    "redirects": _redirects,
    "one_message_only": _one_message_only,
    "strict": _strict,
    "never_answers": _silent_server,
    "one_at_a_time": _one_at_a_time,
}
"""What a question is answered with."""

BAD: dict[str, Handle] = {
    "crashes_on_nonsense": lambda call: call.cut(),
    "500_on_nonsense": lambda call: call.whole(500, b"Traceback (most recent call last)"),
    "200_on_nonsense": lambda call: call.whole(200, b'{"content": "Fine!"}'),
    "hangs_on_nonsense": lambda call: call.server.stopped.wait(30) and None,
}
"""What nonsense is answered with."""

ELSEWHERE = ("no_health", "sick", "serial", "impatient", "reads_once")
"""Faults of the server itself."""


@contextmanager
def broken_agent(fault: str, port: int = 0) -> Iterator[BrokenServer]:
    """The server, in threads of its own. Without a fault (""), a good agent."""
    server = BrokenServer(fault, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="An agent with one fault.")
    parser.add_argument("fault", choices=[*FAULTS, *BAD, *ELSEWHERE])
    parser.add_argument("--port", type=int, default=9001, help="0 for any free port")
    options = parser.parse_args()
    with (
        broken_agent(options.fault, options.port) as server,
        contextlib.suppress(KeyboardInterrupt),
    ):
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
