"""Every websocket and every message on it, as everybody; and who loses the right is put out."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.chat import frames
from gateway.consumers.live import LiveSocket
from gateway.routing import websocket_urlpatterns
from tests.process import manage
from tests.rights.people import EVERYBODY, Who
from tests.web.house import SECRET, House, Visitor

SOCKETS = {"ws/live/": Who.VIEWER, "ws/chat/": Who.PERSON}
"""From whom upwards one gets in. What is said on them is then allowed, and is only one's own."""

LIVE_MESSAGES = {'{"type": "ping"}', '{"resync": None}', '{"resync": str(turn)}'}
CHAT_MESSAGES = {"Say", "Hello", "Earlier", "Resync", "Ping"}

_MAKE = """
import json
from django.contrib.auth.models import Group, User
from django.test import Client
keys = {}
for number, name in enumerate(("person", "staff", "viewer", "operator", "admin", "superuser")):
    user = User.objects.create_user(f"r_{name}", is_staff=number > 0,
                                    is_superuser=name == "superuser")
    user.groups.set(Group.objects.filter(name=name))
    client = Client()
    client.force_login(user)
    keys[name] = client.session.session_key
print(json.dumps(keys))
"""


class Rights:
    """The gateway, and everybody's login."""

    def __init__(self, house: House) -> None:
        self.house = house
        data_dir, env = house.gateway.data_dir, {"OPENCLAW_SECRET_KEY": SECRET}
        made = manage("shell", "-v", "0", "-c", _MAKE, data_dir=data_dir, env=env)
        self.keys: dict[str, str] = json.loads(made.strip().splitlines()[-1])

    def visitor(self, who: Who) -> Visitor:
        """Somebody with their login, or with none."""
        key = self.keys.get(who.name.lower())
        return Visitor(self.house, who.name, f"sessionid={key}" if key else "")


@pytest.fixture(scope="module")
def rights() -> Iterator[Rights]:
    with House.open(OPENCLAW_DRAIN_SECONDS="0.5") as house:
        yield Rights(house)


async def ask(visitor: Visitor, path: str, message: Any) -> dict[str, Any]:
    """What is said to it; what the live page shows meanwhile has no type."""
    answer: dict[str, Any] = {}
    async with visitor.connect(path) as socket:
        await socket.send(json.dumps(message))
        while "type" not in answer:
            answer = json.loads(await socket.recv())
    return answer


def test_tables_know_every_socket_and_every_message() -> None:
    routes = {str(route.pattern) for route in websocket_urlpatterns} - {""}
    assert routes == set(SOCKETS)
    heard = set(re.findall(r"case (\{.*\}):", inspect.getsource(LiveSocket.hear)))
    assert heard == LIVE_MESSAGES
    assert {kind.__name__ for kind in get_args(frames.Frame)} == CHAT_MESSAGES


@pytest.mark.parametrize("who", EVERYBODY, ids=lambda who: who.name.lower())
async def test_everybody_gets_onto_the_sockets_the_table_says(rights: Rights, who: Who) -> None:
    for route, least in SOCKETS.items():
        visitor = rights.visitor(who)
        if who >= least:
            assert (await ask(visitor, f"/{route}", {"type": "ping"}))["type"] == "pong"
        else:
            with pytest.raises(InvalidStatus) as refused:
                await ask(visitor, f"/{route}", {"type": "ping"})
            assert refused.value.response.status_code == 403


@pytest.mark.parametrize("who", [Who.VIEWER, Who.OPERATOR, Who.SUPERUSER])
async def test_live_socket_stops_nothing_for_nobody(rights: Rights, who: Who) -> None:
    """Stopping is a form with a token; the socket only shows."""
    for message in ({"cancel": "turn_x"}, {"type": "cancel", "turn": "turn_x"}):
        answer = await ask(rights.visitor(who), "/ws/live/", message)
        assert answer["type"] == "error"


async def test_watcher_is_put_out_when_the_role_goes(rights: Rights) -> None:
    async with rights.visitor(Who.VIEWER).connect("/ws/live/") as socket:
        groups = rights.house.sql("SELECT id, user_id, group_id FROM auth_user_groups")
        rights.house.sql(
            "DELETE FROM auth_user_groups WHERE user_id = "
            "(SELECT id FROM auth_user WHERE username = 'r_viewer')"
        )
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4403
    for row in groups:
        rights.house.sql("INSERT OR IGNORE INTO auth_user_groups VALUES (?, ?, ?)", *row)


async def test_chat_shows_nobody_anothers_conversation(rights: Rights) -> None:
    """Not even to a superuser: on the chat page everybody is only themselves."""
    async with rights.house.guest("Ada").page() as ada:
        await ada.say("a secret of Ada's")
        call = await rights.house.agent.call()
        call.say("whispered")
        await ada.until(lambda: ada.live.get(call.turn) == "whispered")
        for who in (Who.PERSON, Who.SUPERUSER):
            async with rights.visitor(who).connect("/ws/chat/") as socket:
                for message in (
                    {"type": "hello", "after": 0},
                    {"type": "earlier", "before": 10**6},
                    {"type": "resync", "turn": call.turn},
                    {"type": "ping"},
                ):
                    await socket.send(json.dumps(message))
                answer = {"type": ""}
                while answer["type"] != "pong":
                    answer = json.loads(await socket.recv())
                    assert "secret" not in json.dumps(answer)
                    assert "whispered" not in json.dumps(answer)
        call.finish()
        await ada.until(lambda: ada.states.get(call.turn) == "done")


async def test_stop_button_works_on_a_real_gateway_for_operators_only(rights: Rights) -> None:
    async with rights.house.guest("Bob").page() as page:
        await page.say("go on and on")
        call = await rights.house.agent.call()
        for who, status in ((Who.STRANGER, 302), (Who.PERSON, 302), (Who.VIEWER, 403)):
            assert _stop(rights.visitor(who), call.turn).status_code == status
        assert _state(rights, call.turn) == "running"
        answer = _stop(rights.visitor(Who.OPERATOR), call.turn)
        assert answer.json() == {"cancelled": 1}
        await page.until(lambda: page.states.get(call.turn) == "cancelled")


def _stop(visitor: Visitor, turn: str) -> httpx.Response:
    """The live page's button."""
    token = "a" * 32
    url = f"{visitor.house.url}/admin/live/cancel/"
    cookies = "; ".join(filter(None, [visitor.cookie, f"csrftoken={token}"]))
    headers = {"Cookie": cookies, "X-CSRFToken": token, "Origin": visitor.house.url}
    return httpx.post(url, data={"turn": turn}, headers=headers)


def _state(rights: Rights, turn: str) -> str:
    ((state,),) = rights.house.sql("SELECT state FROM gateway_turn WHERE id = ?", turn)
    return str(state)
