"""An agent as a program: `python tests/fleet/program.py PORT`. Words in the message steer it.

It answers "ack" and the texts it was not asked before. `#die` kills it, `#hang` makes it
deaf, also to /health, `#leak` lets it grow, `#slow` takes a second; each only once per
message, so that the second try is answered. `#env` answers with its environment,
`#pid` with its process id. `--deaf` never answers, `--child` starts a process beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

hoard: list[bytearray] = []
state = {"deaf": "--deaf" in sys.argv}


def first_time(text: str) -> bool:
    """Whether this message is new to all programs of this test: its mark is a file."""
    folder = os.environ.get("HOME", ".")
    mark = Path(folder) / f"seen-{text.encode().hex()[:80]}"
    if mark.exists():
        return False
    mark.touch()
    return True


def act(text: str) -> str:
    if "#pid" in text:
        return str(os.getpid())
    if "#env" in text:
        return json.dumps(dict(os.environ))
    if any(word in text for word in ("#die", "#hang", "#leak")) and first_time(text):
        if "#die" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "#hang" in text:
            state["deaf"] = True
            time.sleep(600)
        while True:
            if len(hoard) < 50:
                hoard.append(bytearray(os.urandom(1024) * 8 * 1024))
            time.sleep(0.02)
    if "#slow" in text:
        time.sleep(1.0)
    return f"ack {text}"


class Agent(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        while state["deaf"]:
            time.sleep(0.05)
        self.answer({"status": "ok"})

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts: list[str] = []
        for message in reversed(question["messages"]):
            if message["role"] == "assistant":
                break
            texts.insert(0, message["content"])
        self.answer({"content": act(" ".join(texts))})

    def answer(self, body: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    if "--child" in sys.argv:
        child = subprocess.Popen(["sleep", "600"])
        print(f"child {child.pid}", flush=True)
    print(f"listening on {sys.argv[1]}, PORT={os.environ['PORT']}", flush=True)
    Server(("127.0.0.1", int(sys.argv[1])), Agent).serve_forever()
