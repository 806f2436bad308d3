"""The shipped nginx site, as people and platforms meet it, in front of a real gateway."""

from __future__ import annotations

import json
import re
import socket
import ssl

import httpx
import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed

from tests.deploy.conftest import Box
from tests.deploy.nginx import NAME
from tests.e2e.world import SECRET as HOOK_SECRET
from tests.e2e.world import wait_until
from tests.fakes._telegram_parts import message_from
from tests.web import browser as browsers
from tests.web.house import PASSWORD, Page

pytestmark = pytest.mark.heavy
MIB = 1024 * 1024


def update(number: int, text: str) -> bytes:
    return json.dumps(
        {"update_id": number, "message": message_from(5, 5, number, text, {})}
    ).encode()


def post_update(box: Box, body: bytes, **headers: str) -> httpx.Response:
    given = {"X-Telegram-Bot-Api-Secret-Token": HOOK_SECRET, "Content-Type": "application/json"}
    with box.client() as client:
        return client.post("/webhooks/telegram", content=body, headers={**given, **headers})


def logged(box: Box, part: str) -> str:
    """The latest line of the access log with `part` in it; nginx writes it after its answer."""
    lines = wait_until(lambda: [line for line in box.nginx.access_lines() if part in line])
    return str(lines[-1])


def passed_on(line: str) -> bool:
    """Whether nginx asked the gateway: only then is there a time for its answer."""
    return not re.search(r" \d+\.\d+/- ", line)


def test_nginx_accepts_the_shipped_configuration_without_a_warning(box: Box) -> None:
    done = box.nginx.check()
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_a_webhook_comes_through_and_is_answered_on_its_platform(box: Box) -> None:
    assert post_update(box, update(7001, "hello through nginx")).status_code == 200
    call = box.house.agent.wait_call()
    assert call.asked == "hello through nginx"
    call.say("hello back")
    call.finish()
    box.telegram.wait_for(lambda: "hello back" in box.telegram.texts(5))


def test_a_webhook_without_its_secret_is_refused(box: Box) -> None:
    answer = post_update(box, update(7002, "x"), **{"X-Telegram-Bot-Api-Secret-Token": "wrong"})
    assert answer.status_code == 403


def test_a_body_above_the_limit_never_reaches_the_gateway(box: Box) -> None:
    before = box.gateway.log_text().count("body")
    answer = post_update(box, b" " * (4 * MIB + 1))
    assert answer.status_code == 413
    assert "nginx" in answer.text
    line = logged(box, '"POST /webhooks/telegram HTTP/1.1" 413')
    assert passed_on(line) is False
    assert box.gateway.log_text().count("body") == before


def test_a_chunked_body_above_the_limit_never_reaches_the_gateway(box: Box) -> None:
    before = box.gateway.log_text().count("body")
    with box.client() as client:
        pieces = (b" " * 65536 for _ in range(65))
        answer = client.post("/webhooks/telegram", content=pieces)
    assert answer.status_code == 413
    assert box.gateway.log_text().count("body") == before


def test_a_body_of_exactly_the_limit_is_the_gateways_to_judge(box: Box) -> None:
    body = update(7003, "large")
    answer = post_update(box, body + b" " * (4 * MIB - len(body)), **{"X-Padding": "1"})
    assert answer.status_code == 200
    box.house.agent.wait_call().finish("seen")


async def test_tokens_reach_the_chat_page_before_the_answer_is_complete(box: Box) -> None:
    guest = box.guest()
    context = box.nginx.trust()
    async with guest.connect("/ws/chat/", ssl=context) as socket:
        page = Page(socket)
        await page.send(type="hello", after=0)
        await page.until(lambda: page.greeted)
        await page.say("tell me a story")
        call = await box.house.agent.call()
        for said, word in (("once", "once"), ("once upon", " upon"), ("once upon a", " a")):
            call.say(word)  # each is waited for: the next is not even written yet
            await page.until(lambda said=said: page.live.get(call.turn) == said)
        assert page.states[call.turn] == "running"
        call.finish()
        await page.until(lambda: ("assistant", "once upon a") in page.shown)


async def test_staff_watches_live_through_nginx_and_strangers_do_not(box: Box) -> None:
    context = box.nginx.trust()
    guest = box.guest()
    with pytest.raises(Exception, match="403"):
        async with guest.connect("/ws/live/", ssl=context):
            pass
    async with (
        box.house.login("staff").connect("/ws/live/", ssl=context) as socket,
        guest.connect("/ws/chat/", ssl=context) as chat,
    ):
        page = Page(chat)
        await page.send(type="hello", after=0)
        await page.say("watched")
        call = await box.house.agent.call()
        call.say("a token")
        while "a token" not in str(await socket.recv()):
            pass
        call.finish()


async def test_another_sites_page_cannot_open_a_websocket(box: Box) -> None:
    guest = box.guest()
    with pytest.raises(Exception, match="403"):
        async with guest.connect(
            "/ws/chat/", ssl=box.nginx.trust(), origin="https://other.example.com"
        ):
            pass


def refuse_for_now(box: Box) -> None:
    """The gateway is down: people read why, platforms are told to come again."""
    with box.client() as client:
        away = client.get("/chat/")
    assert away.status_code == 503
    assert away.headers["retry-after"] == "5"
    assert "restarting" in away.text
    assert post_update(box, update(7004, "early")).status_code == 503


async def test_nginx_survives_a_restart_of_the_gateway(box: Box) -> None:
    guest = box.guest()
    context = box.nginx.trust()
    async with guest.connect("/ws/chat/", ssl=context) as socket:
        page = Page(socket)
        await page.send(type="hello", after=0)
        await page.until(lambda: page.greeted)
        box.restart_gateway(while_away=lambda: refuse_for_now(box))
        with pytest.raises(ConnectionClosed):
            while True:
                await socket.recv()
    assert post_update(box, update(7004, "early")).status_code == 200
    box.house.agent.wait_call().finish("after the restart")
    async with guest.connect("/ws/chat/", ssl=context) as socket:
        page = Page(socket)
        await page.send(type="hello", after=0)
        await page.until(lambda: page.greeted)


def test_http_is_sent_to_https(box: Box) -> None:
    answer = httpx.get(f"http://{NAME}:{box.nginx.http}/chat/?a=b", trust_env=False, timeout=30)
    assert answer.status_code == 301
    assert answer.headers["location"] == f"https://{NAME}/chat/?a=b"


def test_static_files_come_from_nginx_as_the_gateway_would_give_them(box: Box) -> None:
    names = ["chat.css", "chat/main.js", "chat/mark.svg", "variables.css"]
    with box.client() as client, httpx.Client(base_url=box.gateway.url, timeout=30) as direct:
        for name in names:
            ours, theirs = (c.get(f"/static/gateway/{name}") for c in (client, direct))
            assert ours.status_code == theirs.status_code == 200, name
            assert ours.content == theirs.content
            kind = ours.headers["content-type"].partition(";")[0]
            assert kind.replace("application/", "text/") == (
                theirs.headers["content-type"].partition(";")[0].replace("application/", "text/")
            )
            assert ours.headers["cache-control"] == theirs.headers["cache-control"]
            assert ours.headers["x-content-type-options"] == "nosniff"
            again = client.get(
                f"/static/gateway/{name}", headers={"If-None-Match": ours.headers["etag"]}
            )
            assert again.status_code == 304
            assert passed_on(logged(box, f'"GET /static/gateway/{name} ')) is False


def test_a_static_file_that_was_not_collected_comes_from_the_gateway(box: Box) -> None:
    (box.nginx.static / "gateway" / "chat.css").rename(box.nginx.static / "kept.css")
    try:
        with box.client() as client:
            assert client.get("/static/gateway/chat.css?fresh=1").status_code == 200
        wait_until(lambda: passed_on(logged(box, "GET /static/gateway/chat.css ")))
    finally:
        (box.nginx.static / "kept.css").rename(box.nginx.static / "gateway" / "chat.css")


def test_nothing_beside_the_static_files_can_be_read(box: Box) -> None:
    with box.client() as client:
        for path in ("/static/../logs/error.log", "/static/..%2flogs/error.log", "/static../logs"):
            assert client.get(path).status_code in (400, 404), path


def test_pages_know_that_they_are_reached_by_https(box: Box) -> None:
    with box.client() as client:
        page = client.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert page.status_code == 200 and token
        assert "Secure" in page.headers["set-cookie"]
        form = {
            "csrfmiddlewaretoken": token[1],
            "username": "staff",
            "password": PASSWORD,
            "next": "/admin/",
        }
        done = client.post("/admin/login/", data=form, headers={"Referer": f"{box.nginx.url}/"})
        assert done.status_code == 302, done.text
        assert "Secure" in done.headers["set-cookie"]


def test_no_header_stands_there_twice(box: Box) -> None:
    with box.client() as client:
        for path in ("/chat/login/", "/static/gateway/chat.css", "/webhooks/none", "/healthz"):
            answer = client.get(path)
            names = [name.lower() for name, _ in answer.headers.multi_items()]
            single = [name for name in names if name not in ("set-cookie", "vary")]
            assert len(single) == len(set(single)), (path, names)
            assert answer.headers["strict-transport-security"] == "max-age=31536000", path
            assert answer.headers["server"] == "nginx", path


def test_what_stands_in_a_query_is_in_no_log(box: Box) -> None:
    secrets = ["query-secret-in-chat", "query-secret-in-hook", "query-secret-over-http"]

    def ask_all() -> None:
        with box.client() as client:
            client.get(f"/chat/?invite={secrets[0]}")
            client.get(f"/admin/?q={secrets[0]}")
            client.get(f"/static/none.css?x={secrets[0]}")
            client.post(f"/webhooks/telegram?secret={secrets[1]}", content=b"{}")
            client.post(f"/webhooks/none?secret={secrets[1]}", content=b" " * (4 * MIB + 1))
            client.get("/chat/", headers={"Referer": f"{box.nginx.url}/chat/?x={secrets[0]}"})
        address = f"http://{NAME}:{box.nginx.http}/chat/?invite={secrets[2]}"
        httpx.get(address, trust_env=False, timeout=30)

    ask_all()
    box.restart_gateway(while_away=ask_all)  # an error log would tell what could not be asked
    assert logged(box, '"GET /chat/ HTTP/1.1" 503')
    assert logged(box, '"POST /webhooks/telegram HTTP/1.1" 503')
    assert not [secret for secret in secrets if secret in box.nginx.logs()]


def test_old_tls_and_unknown_names_are_refused(box: Box) -> None:
    old = box.nginx.trust()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        httpx.Client(verify=old, trust_env=False, timeout=30) as client,
        pytest.raises(httpx.ConnectError, match="ALERT_PROTOCOL_VERSION"),
    ):
        client.get(f"{box.nginx.url}/healthz")
    with box.client() as client, pytest.raises(httpx.ConnectError, match="UNRECOGNIZED_NAME"):
        client.get("/healthz", extensions={"sni_hostname": "other.example.com"})
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(
            f"http://{NAME}:{box.nginx.http}/",
            headers={"Host": "other.example.com"},
            trust_env=False,
            timeout=30,
        )


def test_readiness_is_refused_to_other_addresses(box: Box) -> None:
    with box.client() as here, box.client("127.0.0.88") as elsewhere:
        assert here.get("/readyz").json()["core"]["database"]["ok"] is True
        assert elsewhere.get("/readyz").status_code == 403
        assert elsewhere.get("/metrics").status_code == 403
        assert elsewhere.get("/healthz").text == "ok"


def test_browsers_are_offered_http2(box: Box) -> None:
    offer = box.nginx.trust()
    offer.set_alpn_protocols(["h2", "http/1.1"])
    with offer.wrap_socket(
        socket.create_connection(("127.0.0.1", box.nginx.https), 10), server_hostname=NAME
    ) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() == "TLSv1.3"


def test_many_tries_to_log_in_are_slowed_down_and_looking_is_not(box: Box) -> None:
    with box.client("127.0.0.88") as client:  # the limit is that address's own
        statuses = [client.post("/chat/login/", data={"a": "b"}).status_code for _ in range(14)]
        assert 429 in statuses
        assert statuses[0] != 429
        assert {client.get("/chat/login/").status_code for _ in range(20)} == {200}


def test_guessing_passwords_locks_the_guessers_address_whatever_it_claims(box: Box) -> None:
    guesser, owner = "127.0.0.91", "127.0.0.92"
    with box.client(guesser) as client:
        tries = [log_in(client, "wrong", f"203.0.113.{number}") for number in range(6)]
        assert tries[:4] == [200] * 4
        assert log_in(client, PASSWORD, owner) == 429  # nor does it pass for another
    with box.client(owner) as client:
        assert log_in(client, PASSWORD, "203.0.113.1") == 302


def log_in(client: httpx.Client, password: str, claimed: str) -> int:
    """The status of one try to log in as "person", from a client that says it is elsewhere."""
    page = client.get("/chat/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "username": "person", "password": password}
    headers = {"Referer": str(client.base_url), "X-Forwarded-For": claimed}
    return client.post("/chat/login/", data=form, headers=headers).status_code


def test_a_person_chats_in_a_real_browser_through_nginx(box: Box) -> None:
    if not browsers.CHROMIUM.exists():
        pytest.skip("chromium is not installed")
    complaints: list[str] = []
    with browsers.running() as browser:
        context = browsers.new_person(browser, ignore_https_errors=True)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.goto(box.house.invite("Ada")[0])
        conversation = page.get_by_role("log", name="Conversation")
        page.get_by_role("textbox").fill("hello from a browser")
        page.keyboard.press("Enter")
        call = box.house.agent.wait_call()
        call.say("the first words")
        expect(
            conversation.get_by_text("the first words")
        ).to_be_visible()  # nothing more is said yet
        call.say(" and the last")
        call.finish()
        expect(conversation.get_by_text("the first words and the last")).to_be_visible()
    assert complaints == []
