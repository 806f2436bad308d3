"""The live page in a real browser, on a real gateway between a fake Telegram and a played agent."""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Route,
    WebSocketRoute,
    expect,
)

from tests.console.live_house import LiveHouse, until, watch
from tests.web import browser as browsers
from tests.web.agent import Call

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
OpenPage = Callable[..., Page]
Begin = Callable[..., Call]

XSS = (
    '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
    '"><svg onload=window.hurt=1>[a](javascript:window.hurt=1)'
)
NARROW = {"viewport": {"width": 360, "height": 740}}
WIDE = "\U0001f99e"  # one code point, two UTF-16 units
_users = count(1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHouse]:
    with LiveHouse.open(
        tmp_path_factory.mktemp("live"), OPENCLAW_AGENT_RETRY_SECONDS="60"
    ) as house:
        yield house


@pytest.fixture
def house(shared_house: LiveHouse) -> Iterator[LiveHouse]:
    yield shared_house
    open_turns = "SELECT count(*) FROM gateway_turn WHERE state IN ('queued', 'running')"
    until(lambda: shared_house.agent.forget() or shared_house.sql(open_turns) == [(0,)])


@pytest.fixture
def problems() -> list[str]:
    """What the browser complained about: errors of scripts, breaches of the CSP."""
    return []


@pytest.fixture
def open_page(house: LiveHouse, browser: Browser, problems: list[str]) -> Iterator[OpenPage]:
    """Opens the live page: `open_page("?channel=webchat", name="viewer")`."""
    contexts: list[BrowserContext] = []

    def open_page(
        query: str = "",
        name: str = "operator",
        line: Callable[[WebSocketRoute], Any] | None = None,
        **options: Any,
    ) -> Page:
        context = house.person(browser, name, **options)
        contexts.append(context)
        page = context.new_page()
        watch(page, problems)
        if line:
            page.route_web_socket(re.compile("/ws/live/"), line)
        page.goto(f"{house.url}/admin/live/{query}")
        expect(page.locator("#counts")).to_contain_text("running")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def begin(house: LiveHouse) -> Begin:
    """Somebody new writes on Telegram; the call their message becomes."""

    def begin(name: str = "Ada", text: str = "hello", user: int | None = None) -> Call:
        user = user or next(_users)
        house.say(user, text, **{"from": {"id": user, "is_bot": False, "first_name": name}})
        return house.agent.wait_call()

    return begin


def axe_source() -> str:
    """axe-core's script."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None and found.submodule_search_locations
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


def card(page: Page, call: Call) -> Locator:
    return page.locator(f"#{call.turn}")


def whole_text(page: Page, call: Call) -> str:
    """The card's text, opened."""
    opened = card(page, call)
    if not opened.evaluate("card => card.classList.contains('open')"):
        opened.locator(".all").click()
    return str(opened.locator(".text").evaluate("box => box.textContent"))


def test_tokens_appear_while_they_are_written_and_the_operator_stops_one_turn(
    house: LiveHouse, open_page: OpenPage, begin: Begin
) -> None:
    page = open_page()
    expect(page.locator("#empty")).to_contain_text("manage.py invite")
    one, two = begin("Ada"), begin("Bo")
    expect(page.locator("#counts")).to_contain_text("2 running")
    expect(page.locator("#empty")).to_be_hidden()
    one.say("First ")
    expect(card(page, one).locator(".text")).to_have_text("First ")
    page.evaluate(
        "id => { window.kept = document.getElementById(id).querySelector('.text div') }", one.turn
    )
    one.say("and second")
    two.say("for Bo")
    expect(card(page, one).locator(".text")).to_have_text("First and second")
    expect(card(page, two).locator(".text")).to_have_text("for Bo")
    assert page.evaluate("window.kept.textContent") == "First and second"  # appended, not rebuilt
    expect(card(page, one).locator("header")).to_contain_text("Ada")
    expect(card(page, one).locator(".where")).to_have_text(re.compile(r"telegram · \d+ → default"))
    expect(card(page, one).locator("time")).to_have_text(re.compile(r"^\d+:\d\d$"))

    card(page, one).get_by_role("button", name="Stop").click()
    expect(card(page, one).locator(".state")).to_have_text("stopped")
    expect(card(page, one)).to_have_class(re.compile("ended"))
    expect(card(page, one).get_by_role("button", name="Stop")).to_be_hidden()
    expect(card(page, one).locator(".text")).to_have_text("First and second")
    two.say(" goes on")
    two.finish()
    expect(card(page, two).locator(".state")).to_have_text("answered")
    expect(card(page, two).locator(".text")).to_have_text("for Bo goes on")
    expect(page.locator("#counts")).to_contain_text("0 running · 0 waiting · 2 ended")
    audit = house.sql("SELECT actor, action FROM gateway_audit WHERE row = ?", one.turn)
    assert [actor for actor, _ in audit] == ["operator"]
    link = card(page, one).locator(".who").get_attribute("href")
    assert link == f"/admin/sessions_app/session/{one.session}/change/"


def test_nothing_that_people_or_agents_write_runs(open_page: OpenPage, begin: Begin) -> None:
    page = open_page()
    call = begin(XSS, XSS)
    call.think(XSS)
    call._put("tool_call", {"name": XSS, "arguments": {XSS: XSS}})
    call._put("attachment", {"name": XSS, "url": "javascript:window.hurt=1"})
    call.say(XSS)
    expect(card(page, call).locator(".text")).to_have_text(XSS)
    for summary in card(page, call).locator("summary").all():
        summary.click()
    expect(card(page, call).locator(".thought")).to_have_text(XSS)
    expect(card(page, call).locator(".text")).to_have_text(XSS)
    expect(card(page, call).locator(".who")).to_contain_text("<img")
    call.finish(XSS)
    expect(card(page, call).locator(".state")).to_have_text("answered")
    assert page.evaluate("window.hurt") is None
    assert page.locator("#live img, #live script, #live svg, #live [onload]").count() == 0


def test_reasoning_and_tool_calls_are_folded(open_page: OpenPage, begin: Begin) -> None:
    page = open_page()
    call = begin()
    call.think("They greet me. ")
    call.think("I greet back.")
    call._put("tool_call", {"name": "clock", "arguments": {"zone": "UTC"}})
    fold = card(page, call).locator("details")
    expect(fold).to_have_count(2)
    expect(fold.nth(1).locator("summary")).to_have_text("Tools · clock")
    expect(fold.first.locator(".inside")).to_be_hidden()
    fold.first.locator("summary").click()
    fold.nth(1).locator("summary").click()
    expect(fold.first.locator(".thought")).to_have_text("They greet me. I greet back.")
    expect(fold.nth(1).locator("pre")).to_contain_text('"zone": "UTC"')
    call._put("tool_result", {"name": "clock", "result": "12:00"})
    expect(fold.nth(1).locator("pre")).to_have_count(2)


def test_late_joiner_reads_all_of_a_long_text_as_sent(open_page: OpenPage, begin: Begin) -> None:
    call = begin()
    for number in range(3000):
        call.say(f"word{number} {WIDE}" + ("\n" if number % 40 == 0 else ""))
    page = open_page()
    expect(card(page, call).locator(".text")).to_contain_text("word2999")
    shown = card(page, call).locator(".text").evaluate("box => box.textContent.length")
    assert shown < 5000  # closed, a card shows the end
    until(lambda: whole_text(page, call) == call.text)
    call.say("the tail")
    until(lambda: whole_text(page, call) == call.text)
    call.finish()
    expect(card(page, call).locator(".state")).to_have_text("answered")
    until(lambda: whole_text(page, call) == call.text)


def test_final_text_that_differs_wins(open_page: OpenPage, begin: Begin) -> None:
    page = open_page()
    shorter, other = begin(), begin()
    shorter.say("draft that is longer")
    other.say("draft")
    expect(card(page, other).locator(".text")).to_have_text("draft")
    expect(card(page, shorter).locator(".text")).to_have_text("draft that is longer")
    shorter.finish("draft")
    other.finish("something else")
    expect(card(page, shorter).locator(".state")).to_have_text("answered")
    expect(card(page, shorter).locator(".text")).to_have_text("draft")
    expect(card(page, other).locator(".text")).to_have_text("something else")


def test_lost_connection_comes_back_and_nothing_is_missing(
    open_page: OpenPage, begin: Begin, house: LiveHouse
) -> None:
    lines: list[WebSocketRoute] = []
    shut: list[bool] = []

    def line(route: WebSocketRoute) -> None:
        if shut:
            route.close(code=1001)
            return
        route.connect_to_server()
        lines.append(route)

    page = open_page(line=line)
    runs, ends = begin("Runs"), begin("Ends")
    runs.say(f"before {WIDE} ")
    ends.say("begun ")
    expect(card(page, runs).locator(".text")).to_contain_text("before")
    expect(card(page, ends).locator(".text")).to_contain_text("begun")
    shut.append(True)
    lines[-1].close(code=1001)
    expect(page.locator("#connection")).to_contain_text("Connection lost")
    runs.say("while away ")
    ends.finish("begun and ended while away")
    state = "SELECT state FROM gateway_turn WHERE id = ?"
    until(lambda: house.sql(state, ends.turn) == [("done",)])
    shut.clear()
    expect(page.locator("#connection")).to_be_empty()
    runs.say("and after")
    expect(card(page, runs).locator(".text")).to_have_text(runs.text)
    expect(card(page, ends).locator(".state")).to_have_text("answered")
    expect(card(page, ends).locator(".text")).to_have_text("begun and ended while away")


def test_a_missed_frame_is_noticed_and_asked_for_again(open_page: OpenPage, begin: Begin) -> None:
    drop: list[bool] = []
    dropped: list[str] = []

    def line(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if drop and '"text":"lost' in str(message):
                dropped.append(str(message))
                drop.clear()
            else:
                route.send(message)

        server.on_message(pass_on)

    page = open_page(line=line)
    call = begin()
    call.say("kept ")
    expect(card(page, call).locator(".text")).to_have_text("kept ")
    drop.append(True)
    call.say("lost ")
    until(lambda: page.evaluate("1") and dropped)
    expect(card(page, call).locator(".text")).to_have_text("kept ")
    call.say("after")
    expect(card(page, call).locator(".text")).to_have_text("kept lost after")


def test_pause_holds_the_page_still_and_follow_catches_up(
    open_page: OpenPage, begin: Begin
) -> None:
    page = open_page()
    call = begin()
    call.say("one ")
    expect(card(page, call).locator(".text")).to_have_text("one ")
    page.keyboard.press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    call.say("two ")
    other = begin("Bo")
    expect(page.locator("#pause")).to_have_text("Follow · news")
    expect(card(page, call).locator(".text")).to_have_text("one ")
    expect(card(page, other)).to_have_count(0)
    page.locator("#pause").click()
    expect(card(page, call).locator(".text")).to_have_text("one two ")
    expect(card(page, other)).to_be_visible()


def test_while_paused_what_somebody_looks_at_is_shown_as_it_was(
    open_page: OpenPage, begin: Begin
) -> None:
    calls = [begin(f"Person {number}") for number in range(12)]
    for number, call in enumerate(calls):
        call.say(f"{number} began. " + "and then some more words. " * 100 + "So far.")
    page = open_page(**NARROW)
    expect(page.locator(".turn")).to_have_count(12)
    cards = page.locator(".turn")
    first, last = (page.locator(f"#{cards.nth(at).get_attribute('id')}") for at in (0, 11))
    expect(first.locator(".text")).to_contain_text("So far.")
    expect(last.locator(".text")).to_be_empty()  # nobody has seen it yet
    page.keyboard.press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    for call in calls:
        call.say(" And later.")
    expect(page.locator("#pause")).to_have_text("Follow · news")

    last.scroll_into_view_if_needed()
    expect(last.locator(".text")).to_have_text(re.compile(r"So far\.$"))
    last.locator(".all").click()
    expect(last.locator(".text")).to_have_text(re.compile(r"^\d+ began\. .*So far\.$"))
    name = str(last.locator(".who").text_content())
    page.locator("#filters [name=q]").fill(name)
    expect(page.locator(".turn:visible")).to_have_count(1 if name != "Person 1" else 3)
    page.get_by_label("State").select_option("ended")
    expect(page.locator("#filtered")).to_be_visible()
    page.get_by_label("State").select_option("")
    page.locator("#pause").click()
    expect(last.locator(".text")).to_have_text(re.compile(r"So far\. And later\.$"))


def test_why_many_turns_failed_is_asked_again_until_it_is_told(
    open_page: OpenPage, begin: Begin, problems: list[str]
) -> None:
    calls = [begin(f"Person {number}") for number in range(3)]
    for call in calls:
        call.say("It began well, but")
    page = open_page()
    refused: list[str] = []

    def refuse(route: Route) -> None:
        if not refused:
            refused.append(route.request.url)
            route.fulfill(status=503)
        else:
            route.continue_()

    page.route(re.compile(r"/live/ended\.json"), refuse)
    for call in calls:
        call.break_off()
    for call in calls:
        expect(card(page, call).locator(".state")).to_have_text("failed: interrupted")
    assert len(refused) == 1
    problems[:] = [problem for problem in problems if "503" not in problem]


def test_who_reads_further_up_is_left_alone(open_page: OpenPage, begin: Begin) -> None:
    page = open_page()
    call = begin()
    call.say("".join(f"line {number}\n" for number in range(100)))
    box = card(page, call).locator(".scroller")
    expect(card(page, call).locator(".text")).to_contain_text("line 99")
    box.hover()
    page.mouse.wheel(0, -60)
    until(lambda: box.evaluate("box => box.scrollTop") < -20)
    call.say("more to come")
    news = card(page, call).get_by_role("button", name="12 new")
    expect(news).to_be_visible()
    expect(card(page, call).locator(".text")).not_to_contain_text("more to come")
    news.click()
    expect(card(page, call).locator(".text")).to_contain_text("more to come")
    assert box.evaluate("box => box.scrollTop") == 0


def test_filters_stand_in_the_address(open_page: OpenPage, begin: Begin) -> None:
    ada, bo = begin("Ada Filter"), begin("Bo Filter")
    ada.say("x")
    bo.say("y")
    page = open_page("?q=ada+filter&channel=telegram")
    expect(card(page, ada)).to_be_visible()
    expect(card(page, bo)).to_be_hidden()
    page.get_by_label("Channel").select_option("webchat")
    expect(card(page, ada)).to_be_hidden()
    expect(page.locator("#filtered")).to_be_visible()
    expect(page).to_have_url(re.compile("channel=webchat"))
    page.get_by_label("Channel").select_option("")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("bo filter")
    expect(card(page, bo)).to_be_visible()
    expect(card(page, ada)).to_be_hidden()
    expect(page).to_have_url(re.compile(r"\?q=bo\+filter$"))
    page.get_by_label("State").select_option("ended")
    expect(card(page, bo)).to_be_hidden()
    bo.finish()
    expect(card(page, bo)).to_be_visible()


def test_a_failed_turn_says_why(open_page: OpenPage, begin: Begin) -> None:
    page = open_page()
    call = begin()
    call.say("It began well, but")
    expect(card(page, call).locator(".text")).to_have_text("It began well, but")
    call.break_off()
    expect(card(page, call).locator(".state")).to_have_text("failed: interrupted")
    expect(card(page, call).locator(".text")).to_have_text("It began well, but")


def test_what_waits_says_why_and_can_be_dropped(
    house: LiveHouse, open_page: OpenPage, begin: Begin
) -> None:
    page = open_page()
    call = begin("Ada", user=4242)
    call.say("working")
    house.say(4242, "and another thing")
    line = page.locator("#queue li")
    expect(line).to_have_count(1)
    expect(line).to_contain_text("behind a running turn")
    line.get_by_role("button", name="Drop").click()
    expect(line).to_have_count(0)
    failing = begin("Fails", user=4343)
    failing.break_off()  # not a word was heard: it is tried again later
    expect(line).to_contain_text("tries again after interrupted")
    expect(line).to_contain_text("in ")
    expect(card(page, failing)).to_have_count(0)
    line.get_by_role("button", name="Drop").click()
    expect(line).to_have_count(0)


def test_a_viewer_watches_but_has_nothing_to_stop_with(open_page: OpenPage, begin: Begin) -> None:
    page = open_page(name="viewer")
    call = begin()
    call.say("seen")
    expect(card(page, call).locator(".text")).to_have_text("seen")
    expect(page.locator("#live").get_by_role("button", name="Stop")).to_have_count(0)


def test_keyboard_alone_is_enough(open_page: OpenPage, begin: Begin) -> None:
    one, two = begin("Ada"), begin("Bo")
    one.say("x")
    two.say("y")
    page = open_page()
    expect(card(page, two)).to_be_visible()
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.id")
    page.keyboard.press("j")
    second = page.evaluate("document.activeElement.id")
    assert {first, second} == {one.turn, two.turn}
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.id") == first
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/admin/sessions_app/session/sess_"))


@pytest.mark.parametrize("look", [{"color_scheme": "light"}, {"color_scheme": "dark"}, NARROW])
def test_axe_finds_nothing_serious(
    open_page: OpenPage,
    begin: Begin,
    house: LiveHouse,
    problems: list[str],
    look: dict[str, Any],
) -> None:
    writes, ended, folded = begin("Ada", user=5151), begin("Bo" * 60), begin("محمد")
    writes.say("word " * 600)
    house.say(5151, "and this waits")
    ended.say("the end")
    folded.think("a thought " * 50)
    folded.say("x" * 500)
    page = open_page(**look)
    expect(card(page, ended).locator(".text")).to_have_text("the end")
    ended.finish()
    expect(card(page, ended).locator(".state")).to_have_text("answered")
    expect(page.locator("#queue li")).to_have_count(1)
    card(page, folded).scroll_into_view_if_needed()
    card(page, folded).locator("summary").click()
    until(lambda: whole_text(page, writes) == writes.text)
    assert problems == []
    page.evaluate(axe_source())
    result = page.evaluate("axe.run('#live', {resultTypes: ['violations']})")
    problems.clear()  # axe tries inline styles, which our CSP refuses
    serious = [
        (fault["id"], [node["target"] for node in fault["nodes"]])
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []
    width = page.viewport_size
    assert width and page.evaluate("document.documentElement.scrollWidth") <= width["width"]


def test_ended_turns_are_bounded_and_an_opened_one_stays(open_page: OpenPage, begin: Begin) -> None:
    page = open_page()
    first = begin()
    first.say("opened " * 100)
    until(lambda: whole_text(page, first) == first.text)
    first.finish()
    for _ in range(34):
        begin().finish("done")
    ended = page.locator(".turn.ended")
    expect(ended).to_have_count(31)  # the thirty newest, and the one somebody reads
    expect(card(page, first)).to_be_visible()
    page.keyboard.press("p")
    unseen = [begin() for _ in range(34)]
    for call in unseen:
        call.finish("unseen")
    time.sleep(1.2)  # the page tidies up every second
    page.keyboard.press("p")
    expect(page.locator(",".join(f"#{call.turn}" for call in unseen))).to_have_count(30)
