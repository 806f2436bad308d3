"""What nginx passes on, seen by a server in the gateway's place."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.deploy.conftest import client_of
from tests.deploy.nginx import NAME, Nginx, find

pytestmark = pytest.mark.heavy
VISITOR = "127.0.0.77"
"""All of 127.0.0.0/8 is this machine; nginx and the gateway are at 127.0.0.1."""


class Mirror(BaseHTTPRequestHandler):
    """Answers with the headers it was sent; streams below /v1/ in two pieces."""

    protocol_version = "HTTP/1.1"
    second_piece = threading.Event()
    peers: set[tuple[str, int]] = set()

    def do_GET(self) -> None:
        self.peers.add(self.client_address)
        if self.path.startswith("/v1/"):
            return self._stream()
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Strict-Transport-Security", "max-age=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b"data: first\n\n")
        came = self.second_piece.wait(10)
        self._chunk(b"data: second\n\n" if came else b"data: nobody read the first\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def mirrored() -> Iterator[Nginx]:
    find("nginx")
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        nginx = Nginx(server.server_port)
        try:
            nginx.start()
            yield nginx
        finally:
            nginx.remove()
            server.shutdown()


@pytest.fixture
def client(mirrored: Nginx) -> Iterator[httpx.Client]:
    with client_of(mirrored, VISITOR) as made:
        yield made


def seen(client: httpx.Client, path: str, **headers: str) -> dict[str, list[str]]:
    """Header -> values as they arrive behind nginx, for a request with `headers`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    found: dict[str, list[str]] = {}
    for name, value in client.get(path, headers=given).json():
        found.setdefault(name.lower(), []).append(value)
    return found


@pytest.mark.parametrize(
    "path", ["/", "/admin/", "/chat/", "/chat/login/", "/ws/chat/", "/webhooks/x", "/static/none"]
)
def test_what_a_client_says_about_its_origin_is_replaced(client: httpx.Client, path: str) -> None:
    headers = seen(
        client,
        path,
        X_Forwarded_For="203.0.113.9",
        X_Forwarded_Proto="http",
        X_Forwarded_Host="evil.example.com",
        X_Forwarded_Port="1",
        X_Real_IP="203.0.113.9",
        Forwarded="for=203.0.113.9;proto=http",
        Daphne_Root_Path="//evil.example.com",
    )
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == [VISITOR]
    assert headers["x-forwarded-proto"] == ["https"]
    assert headers["host"] == [NAME]
    assert {"x-forwarded-host", "x-forwarded-port", "forwarded", "daphne-root-path"}.isdisjoint(
        headers
    )


def test_headers_with_underscores_do_not_pass_for_ours(mirrored: Nginx) -> None:
    with mirrored.trust().wrap_socket(
        socket.create_connection(("127.0.0.1", mirrored.https), 10), server_hostname=NAME
    ) as raw:
        raw.sendall(
            b"GET /chat/ HTTP/1.1\r\nHost: localhost\r\nX_Forwarded_For: 203.0.113.9\r\n"
            b"X_Forwarded_Proto: http\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b"200 OK" in answer
    assert b"203.0.113.9" not in answer


@pytest.mark.parametrize(
    ("path", "upgrade", "passed"),
    [
        ("/ws/chat/", "websocket", True),
        ("/ws/chat/", "WebSocket", True),
        ("/ws/chat/", "h2c", False),
        ("/chat/", "websocket", False),
        ("/webhooks/x", "websocket", False),
        ("/chat/ws/", "websocket", False),
    ],
)
def test_only_websockets_below_ws_are_upgraded(
    client: httpx.Client, path: str, upgrade: str, passed: bool
) -> None:
    headers = seen(client, path, Upgrade=upgrade, Connection="Upgrade")
    assert headers.get("upgrade") == (["websocket"] if passed else None)
    assert headers.get("connection") == (["upgrade"] if passed else None)


def test_an_event_stream_arrives_piece_by_piece(client: httpx.Client) -> None:
    Mirror.second_piece.clear()
    with client.stream("GET", "/v1/anything", headers={"Accept-Encoding": "gzip"}) as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "data: first\n\n"
        Mirror.second_piece.set()  # said only now: a proxy that gathers would never get here
        assert "".join(pieces) == "data: second\n\n"


def test_connections_to_the_gateway_are_used_again(client: httpx.Client) -> None:
    Mirror.peers.clear()
    for _ in range(20):
        client.get("/")
    assert len(Mirror.peers) <= 2  # one for each of nginx's processes


def test_a_header_that_the_gateway_sets_too_is_sent_once(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers.get_list("strict-transport-security") == ["max-age=31536000"]
