"""One real gateway behind one real nginx, for the tests of the shipped site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from gateway.invitations import COOKIE
from tests.deploy.nginx import Nginx, find
from tests.e2e.world import SECRET as HOOK_SECRET
from tests.e2e.world import TOKEN, wait_until
from tests.fakes.telegram import FakeTelegram
from tests.process import Gateway, free_port, manage
from tests.web.agent import PlayedAgent
from tests.web.house import SECRET, House, Visitor


@dataclass(frozen=True, slots=True)
class Box:
    """A whole box: nginx, the gateway behind it, a platform and an agent."""

    nginx: Nginx
    house: House
    telegram: FakeTelegram

    @property
    def gateway(self) -> Gateway:
        return self.house.gateway

    def restart_gateway(self, while_away: Callable[[], None]) -> None:
        """Stop the gateway, do something, start it and wait until its platform is up again."""
        up = "channel telegram is up"
        before = self.gateway.log_text().count(up)
        self.gateway.stop()
        try:
            while_away()
        finally:
            self.gateway.spawn()
            wait_until(lambda: self.gateway.log_text().count(up) > before)

    def guest(self) -> Visitor:
        """A guest who has opened their link through nginx."""
        link, user_id = self.house.invite()
        with self.client() as client:
            answer = client.get(link)
        assert answer.status_code == 302, answer.text
        return Visitor(self.house, user_id, f"{COOKIE}={answer.cookies[COOKIE]}")

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        """A client at an address of its own, who trusts the certificate and follows nobody."""
        return client_of(self.nginx, address)


def client_of(nginx: Nginx, address: str = "127.0.0.1") -> httpx.Client:
    """The same for an nginx alone."""
    transport = httpx.HTTPTransport(verify=nginx.trust(), local_address=address)
    return httpx.Client(base_url=nginx.url, transport=transport, timeout=30)


@pytest.fixture(scope="package")
def whole_box() -> Iterator[Box]:
    find("nginx")
    port = free_port()
    nginx = Nginx(port)
    try:
        with PlayedAgent.running() as agent, FakeTelegram.in_thread(token=TOKEN) as telegram:
            env = {
                "OPENCLAW_PORT": str(port),
                "OPENCLAW_PUBLIC_URL": nginx.url,
                "OPENCLAW_STATIC_DIR": str(nginx.static),
                "OPENCLAW_SECRET_KEY": SECRET,
                "OPENCLAW_AGENT_URL": agent.url,
                "OPENCLAW_CHANNELS": "webchat,telegram",
                "OPENCLAW_TELEGRAM_TOKEN": TOKEN,
                "OPENCLAW_TELEGRAM_SECRET": HOOK_SECRET,
                "OPENCLAW_TELEGRAM_MODE": "webhook",
                "OPENCLAW_TELEGRAM_API_URL": telegram.url,
                "OPENCLAW_TELEGRAM_RATE": "unlimited",
                "OPENCLAW_TELEGRAM_ACCESS": "open",
                "OPENCLAW_DRAIN_SECONDS": "0.5",
            }
            gateway = Gateway.start(env)
            try:
                manage("collectstatic", "--noinput", "-v", "0", data_dir=gateway.data_dir, env=env)
                house = House(gateway, agent)
                house.url = nginx.url
                nginx.start()
                wait_until(lambda: "channel telegram is up" in gateway.log_text())
                yield Box(nginx, house, telegram)
            finally:
                agent.forget()
                gateway.remove()
    finally:
        nginx.remove()


@pytest.fixture
def box(whole_box: Box) -> Iterator[Box]:
    """The box, with nothing unfinished from another test."""
    whole_box.house.agent.forget()
    yield whole_box
    whole_box.house.agent.forget()
