"""What the first start makes, it makes once: an operator and a default agent."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest
from pytest_django.fixtures import Settings

from gateway import first_start
from gateway.models import Agent, RoutingRule

OWN = "http://127.0.0.1:7000/rpc/message"


def default() -> Agent:
    return Agent.objects.get(is_default=True)


@pytest.mark.django_db
def test_operator_is_made_once_with_a_password_that_works() -> None:
    password = first_start.ensure_operator()
    assert password and len(password) >= 16
    user = authenticate(HttpRequest(), username="operator", password=password)
    assert isinstance(user, User) and user.is_superuser and user.is_staff
    assert password not in user.password
    assert first_start.ensure_operator() is None


@pytest.mark.django_db
def test_two_installations_get_different_passwords() -> None:
    first = first_start.ensure_operator()
    User.objects.all().delete()
    assert first_start.ensure_operator() != first


@pytest.mark.django_db
def test_no_operator_is_made_where_there_is_an_administrator() -> None:
    User.objects.create_superuser("anna", password="an administrator's own")
    assert first_start.ensure_operator() is None
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_a_person_named_operator_is_not_made_an_administrator() -> None:
    User.objects.create_user("operator", password="somebody")
    assert first_start.ensure_operator() is None
    assert not User.objects.get().is_superuser


@pytest.mark.django_db
def test_bundled_agent_is_the_default_at_the_first_start(settings: Settings) -> None:
    settings.OPENCLAW_PI_PORT = 9123
    first_start.ensure_default_agent()
    first_start.ensure_default_agent()
    agent = Agent.objects.get()
    assert (agent.name, agent.is_default) == ("pi", True)
    assert agent.url == "http://127.0.0.1:9123/rpc/message"
    assert first_start.bundled_agent_wanted()


@pytest.mark.django_db
def test_named_agent_is_the_default_at_the_first_start(settings: Settings) -> None:
    settings.OPENCLAW_AGENT_URL = OWN
    first_start.ensure_default_agent()
    assert (default().name, default().url) == ("default", OWN)
    assert not first_start.bundled_agent_wanted()


@pytest.mark.django_db
def test_named_agent_takes_over_from_the_bundled_one_later(settings: Settings) -> None:
    first_start.ensure_default_agent()
    settings.OPENCLAW_AGENT_URL = OWN
    first_start.ensure_default_agent()
    first_start.ensure_default_agent()
    assert default().url == OWN
    assert Agent.objects.count() == 2
    assert not first_start.bundled_agent_wanted()


@pytest.mark.django_db
def test_bundled_agent_stays_where_a_rule_sends_people_to_it(settings: Settings) -> None:
    first_start.ensure_default_agent()
    RoutingRule.objects.create(agent=default(), channel="webchat")
    settings.OPENCLAW_AGENT_URL = OWN
    first_start.ensure_default_agent()
    assert default().url == OWN
    assert first_start.bundled_agent_wanted()


@pytest.mark.django_db
@pytest.mark.parametrize("known_url", [OWN, "http://127.0.0.1:7001/"])
def test_take_over_finds_or_makes_a_name(settings: Settings, known_url: str) -> None:
    first_start.ensure_default_agent()
    Agent.objects.create(name="default", url=known_url)
    settings.OPENCLAW_AGENT_URL = OWN
    first_start.ensure_default_agent()
    assert default().url == OWN
    assert Agent.objects.filter(url=OWN).count() == 1


@pytest.mark.django_db
def test_what_an_operator_arranged_stays(settings: Settings) -> None:
    Agent.objects.create(name="mine", url=OWN, is_default=False)
    settings.OPENCLAW_AGENT_URL = "http://127.0.0.1:7002/rpc/message"
    first_start.ensure_default_agent()
    assert [agent.name for agent in Agent.objects.all()] == ["mine"]


@pytest.mark.django_db
def test_bundled_agent_follows_its_port(settings: Settings) -> None:
    first_start.ensure_default_agent()
    settings.OPENCLAW_PI_PORT = 9555
    first_start.ensure_default_agent()
    assert Agent.objects.get().url == "http://127.0.0.1:9555/rpc/message"


@pytest.mark.django_db(transaction=True)
def test_many_starters_at_once_make_one_of_each() -> None:
    def start(_: int) -> str | None:
        try:
            first_start.ensure_default_agent()
            return first_start.ensure_operator()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        passwords = [password for password in pool.map(start, range(6)) if password]
    assert len(passwords) == 1
    assert authenticate(HttpRequest(), username="operator", password=passwords[0])
    assert Agent.objects.get().name == "pi"
