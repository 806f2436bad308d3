"""A session's page and the lists in a real browser, on a real gateway."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect

from gateway.console.transcript import PAGE
from tests.process import manage
from tests.web import browser as browsers
from tests.web.house import SECRET, House

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
OpenPage = Callable[..., Page]

_SEED = """
import json
from django.contrib.auth.models import Group, User
from django.test import Client
from gateway.models import Agent, RoutingRule
from tests.console import past
made = {"everything": past.everything(), "long": past.ten_thousand(),
        "named": past.named(past.LONG_NAME, "guest_name"),
        "hostile": past.named(past.XSS, "guest_xss"), "stuck": past.stuck()}
RoutingRule.objects.create(agent=Agent.objects.first())
for role in ("viewer", "operator", "admin"):
    user = User.objects.create_user(role, is_staff=True)
    user.groups.set(Group.objects.filter(name=role))
    client = Client()
    client.force_login(user)
    made[role] = client.session.session_key
print(json.dumps(made))
"""


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[House, dict[str, str]]]:
    """A gateway with a past; ids of its conversations and logins by name."""
    with House.open(OPENCLAW_DRAIN_SECONDS="0.5") as house:
        out = manage(
            "shell", "-v", "0", "-c", _SEED,
            data_dir=house.gateway.data_dir, env={"OPENCLAW_SECRET_KEY": SECRET},
        )  # fmt: skip
        yield house, json.loads(out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture
def problems() -> list[str]:
    """What the browser complained of: errors of scripts, breaches of the CSP."""
    return []


@pytest.fixture
def open_page(
    place: tuple[House, dict[str, str]], browser: Browser, problems: list[str]
) -> Iterator[OpenPage]:
    """Opens an address of the admin; what the browser complains of fails the test."""
    house, made = place
    contexts: list[BrowserContext] = []

    def open_page(
        address: str,
        role: str = "operator",
        line: Callable[[WebSocketRoute], Any] | None = None,
        **options: Any,
    ) -> Page:
        context = browsers.new_person(browser, **options)
        contexts.append(context)
        context.add_cookies([{"name": "sessionid", "value": made[role], "url": house.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: problems.append(said.text) if "Content Security" in said.text else None,
        )
        if line:
            page.route_web_socket(re.compile("/ws/live/"), line)
        page.goto(f"{house.url}/admin/{address}")
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.hurt") is None
        context.close()
    assert problems == []


def talk(made: dict[str, str], name: str, query: str = "") -> str:
    return f"sessions_app/session/{made[name]}/change/{query}"


SIZES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["everything", "long", "named", "hostile"])
def test_conversation_fits_and_opens_at_its_end(
    place: tuple[House, dict[str, str]], open_page: OpenPage, name: str, size: str
) -> None:
    page = open_page(talk(place[1], name), **SIZES[size])
    last = page.locator("#entries .entry").last
    expect(last).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight + 1")
    browsers.picture(page, f"{name}-{size}")
    page.evaluate("document.getElementById('scroller').scrollTop = 0")
    browsers.picture(page, f"{name}-{size}-top")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "table", ["sessions_app/session", "sessions_app/message", "sessions_app/contact",
              "gateway/turn", "gateway/delivery", "gateway/schedule"]
)  # fmt: skip
def test_list_fits(open_page: OpenPage, table: str, size: str) -> None:
    page = open_page(f"{table}/", **SIZES[size])
    expect(page.locator("#changelist")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    browsers.picture(page, f"list-{table.replace('/', '-')}-{size}")


def test_on_a_phone_cells_say_what_they_are_and_filters_are_folded(open_page: OpenPage) -> None:
    page = open_page("gateway/turn/", **SIZES["phone"])
    said = page.evaluate(
        "[...document.querySelectorAll('#result_list tbody tr:first-child td')]"
        ".map((cell) => getComputedStyle(cell, '::before').content)"
    )
    assert '"Duration "' in said
    filters, fold = page.locator("#changelist-filter"), page.get_by_role("button", name="Filters")
    expect(filters).to_be_hidden()
    fold.click()
    expect(filters).to_be_visible()
    expect(fold).to_have_attribute("aria-expanded", "true")
    wide = open_page("gateway/turn/")
    expect(wide.locator("#changelist-filter")).to_be_visible()
    expect(wide.get_by_role("button", name="Filters")).to_be_hidden()


def test_markdown_code_and_hostile_text(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    page = open_page(talk(place[1], "everything"))
    first = page.locator(".entry.agent").first
    expect(first.locator(".code code")).to_contain_text("from pathlib import Path")
    expect(first.locator("table td").first).to_have_text("pathlib")
    assert page.locator("#entries :is(img, script, iframe, svg)").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('#entries a')].every((a) => /^https?:/.test(a.href))"
    )
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    browsers.click_says(first.locator(".copy"), "Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("from pathlib")
    right = page.locator(".entry.person", has_text="مرحبا").first.locator(".text")
    assert right.evaluate("(text) => getComputedStyle(text).direction") == "rtl"


def test_earlier_messages_come_in_without_a_jump(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    page = open_page(talk(place[1], "long"))
    entries = page.locator("#entries .entry")
    expect(entries).to_have_count(PAGE)
    expect(entries.last).to_contain_text("Answer number 5000")
    mark = page.locator("#entries .entry").first.get_attribute("id")
    page.get_by_text("Earlier messages").click()
    expect(entries).to_have_count(2 * PAGE)
    expect(page.locator(f"#{mark}")).to_be_in_viewport()
    assert page.evaluate(
        "[...document.querySelectorAll('.entry')].every((e, i, all) => !i || "
        "Number(all[i - 1].dataset.seq) < Number(e.dataset.seq))"
    )
    expect(page.locator("h2.day").first).to_be_attached()


_WHILE_AWAY = """
from sessions_app.models import Message, Session
session = Session.objects.get(pk="{session}")
Message.objects.bulk_create(
    Message(session=session, seq=1000 * (2 + number // 2) + number % 2, channel="webchat",
            role="assistant" if number % 2 else "user", origin="agent" if number % 2 else "user",
            text=f"while away {{number}}", created_at=session.last_activity)
    for number in range(250))
"""


def test_all_that_came_while_the_line_was_down_is_there_afterwards(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    house, made = place
    lines: list[WebSocketRoute] = []
    shut: list[bool] = []

    def line(route: WebSocketRoute) -> None:
        if shut:
            route.close(code=1001)
            return
        route.connect_to_server()
        lines.append(route)

    page = open_page(talk(made, "stuck"), line=line)
    entries = page.locator("#entries .entry")
    expect(entries).to_have_count(2)
    expect(page.locator("[data-moving]")).to_have_count(1)  # a part that cannot be sent yet
    shut.append(True)
    lines[-1].close(code=1001)
    expect(page.locator("#line")).to_contain_text("Connection lost")
    code = _WHILE_AWAY.format(session=made["stuck"])
    manage(
        "shell", "-v", "0", "-c", code,
        data_dir=house.gateway.data_dir, env={"OPENCLAW_SECRET_KEY": SECRET},
    )  # fmt: skip
    shut.clear()
    expect(page.locator("#line")).to_be_empty(timeout=20_000)
    expect(entries).to_have_count(252)
    texts = page.locator("#entries .entry .text").all_text_contents()
    assert texts[2:] == [f"while away {number}" for number in range(250)]


def test_link_to_a_place_opens_there(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    page = open_page(talk(place[1], "long", "?at=1000000"))
    expect(page.get_by_text("Question number 1000", exact=True)).to_be_attached()
    page.get_by_text("To the end of the conversation").click()
    expect(page.get_by_text("Answer number 5000", exact=True)).to_be_in_viewport()


def test_operator_tries_again_from_the_page(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    house, made = place
    page = open_page(talk(made, "everything"))
    stuck = page.locator(".entry.turn.stuck", has_text="quarantined")
    stuck.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("The agent is asked again.")).to_be_visible()
    call = house.agent.wait_call()
    growing = page.locator(".entry.running .text")
    call.say("Second **try")
    expect(growing).to_contain_text("Second")
    call.say("** goes well.")
    call.finish()
    answer = page.locator(".entry.agent", has_text="Second try goes well.")
    expect(answer.locator("strong")).to_have_text("try")
    expect(page.locator(".entry.running")).to_have_count(0)
    discarded = page.locator(".parts li", has_text="part 3 of 3")
    page.once("dialog", lambda dialog: dialog.accept())
    discarded.get_by_role("button", name="Discard").click()
    expect(page.locator(".parts li", has_text="part 3 of 3 discarded")).to_be_visible()


def test_viewer_has_no_buttons(place: tuple[House, dict[str, str]], open_page: OpenPage) -> None:
    page = open_page(talk(place[1], "everything"), role="viewer")
    expect(page.locator(".entry").first).to_be_attached()
    assert page.locator("[name=do]").count() == 0


def test_answer_grows_in_place_and_becomes_history(
    place: tuple[House, dict[str, str]], browser: Browser, open_page: OpenPage
) -> None:
    house, _ = place
    guest = browsers.new_person(browser)
    with contextlib.closing(guest):
        chat = guest.new_page()
        chat.goto(house.invite("Grace Hopper")[0])

        def say(text: str) -> None:
            chat.get_by_label("Your message").fill(text)
            chat.keyboard.press("Enter")

        say("Hello there")
        call = house.agent.wait_call()
        page = open_page(f"sessions_app/session/{call.session}/change/")
        expect(page.locator(".entry.person")).to_have_text(re.compile("Hello there"))
        call.say("First paragraph 🎉.\n\n")
        call.say("Second **par")
        growing = page.locator(".entry.running .text")
        expect(growing.locator("p")).to_have_count(2)
        page.evaluate("window.kept = document.querySelector('.entry.running .text p')")
        page.context.set_offline(True)
        call.say("agraph** grows")
        page.context.set_offline(False)
        expect(growing.locator("strong")).to_have_text("paragraph")
        call.say(" and ends.")
        call.finish()
        answer = page.locator(".entry.agent")
        expect(answer).to_contain_text("grows and ends.")
        expect(answer).to_contain_text("first token")
        expect(answer).to_contain_text("✓ sent")
        assert page.evaluate("window.kept === document.querySelector('.entry.agent .text p')")
        say("And once more")
        again = house.agent.wait_call()
        expect(page.locator(".entry.person").nth(1)).to_contain_text("And once more")
        again.say("Other words")
        expect(page.locator(".entry.running .text")).to_have_text("Other words")
        again.finish("What it says at the end wins")
        expect(page.locator(".entry.agent").nth(1)).to_contain_text("at the end wins")
        assert page.locator("text=Other words").count() == 0


@pytest.mark.parametrize("size", ["light", "dark", "phone"])
@pytest.mark.parametrize(
    "where", ["everything", "sessions_app/session/", "gateway/delivery/", "gateway/schedule/"]
)
def test_axe_finds_nothing_serious(
    place: tuple[House, dict[str, str]],
    open_page: OpenPage,
    problems: list[str],
    where: str,
    size: str,
) -> None:
    address = talk(place[1], where) if where in place[1] else where
    page = open_page(address, **SIZES[size])
    for details in page.locator("main details").all():
        details.evaluate("(one) => { one.open = true; }")
    assert problems == []
    page.evaluate(axe_source())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    problems.clear()  # axe tries inline styles, which the CSP refuses
    serious = [
        (item["id"], [node["html"] for node in item["nodes"]][:3])
        for item in found["violations"]
        if item["impact"] in ("serious", "critical")
    ]
    assert serious == []


def axe_source() -> str:
    """axe-core's script."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found and found.submodule_search_locations, "axe-playwright-python is not installed"
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


def test_keyboard_alone_leads_through_list_and_conversation(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    page = open_page("sessions_app/session/")
    page.keyboard.press("/")
    expect(page.locator("#searchbar")).to_be_focused()
    page.keyboard.type("Ada Love")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=Ada"))
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    links = page.locator("#result_list tbody th a")
    expect(links.first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/change/"))
    expect(page.locator("#entries .entry").last).to_be_in_viewport()
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(r"/session/\?.*q=Ada"))
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("/sessions_app/$"))


def test_escape_leads_to_the_list_as_it_was_left_also_by_way_of_another_conversation(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    page = open_page("sessions_app/session/?q=Ada+Love")
    page.locator('#result_list a[href*="0002"]').first.click()
    page.wait_for_url(re.compile("0002/change/"))
    page.locator(".siblings > a[rel=prev]").click()
    page.wait_for_url(re.compile("0001/change/"))
    page.locator("#nav-filter").fill("tur")
    page.keyboard.press("Escape")
    expect(page.locator("#nav-filter")).to_have_value("")  # the key was the field's
    page.locator("#scroller").focus()
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(r"/session/\?q=Ada\+Love$"))


def test_escape_does_not_drop_what_was_edited_in_a_list(
    place: tuple[House, dict[str, str]], open_page: OpenPage
) -> None:
    page = open_page("gateway/routingrule/", role="admin")
    field = page.locator("#result_list input[type=number]").first
    field.fill("77")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("[name=_save]")).to_be_focused()
    expect(field).to_have_value("77")
    page.locator("[name=_save]").press("Enter")
    expect(page.locator(".messagelist")).to_be_visible()
    page.locator("#result_list a").first.focus()
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("/admin/gateway/$"))
