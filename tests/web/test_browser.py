"""The chat page in a real browser, on a real gateway."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.web import browser as browsers
from tests.web.house import House

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
OpenPage = Callable[..., Page]

XSS = (
    "<img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script> "
    "[a](javascript:window.hurt=1) [b](data:text/html,<script>1</script>) "
    "<a href='javascript:window.hurt=1'>c</a> `</code><svg onload=window.hurt=1>` "
    "[d](https://example.com/\"onmouseover=\"window.hurt=1) **<b onclick=1>** "
    "\n```html\"><script>window.hurt=1</script>\n"
    "<iframe srcdoc='<script>top.hurt=1</script>'>\n```\n"
    "| <img src=x onerror=window.hurt=1> | b |\n|---|---|\n| <script>window.hurt=1</script> | d |\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture
def problems() -> list[str]:
    """What the browser complained about: errors of scripts, breaches of the CSP."""
    return []


@pytest.fixture
def open_page(house: House, browser: Browser, problems: list[str]) -> Iterator[OpenPage]:
    """Opens the chat as a new guest; `link` or `context` make it a known one."""
    contexts: list[BrowserContext] = []

    def open_page(link: str = "", context: BrowserContext | None = None, **options: Any) -> Page:
        if context is None:
            context = browsers.new_person(browser, **options)
            contexts.append(context)
            link = link or house.invite("Ada Lovelace")[0]
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: problems.append(said.text) if "Content Security" in said.text else None,
        )
        page.goto(link or f"{house.url}/chat/")
        expect(page.locator("#skeleton")).to_be_hidden()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def answers(page: Page) -> Any:
    return page.locator(".entry.assistant .body")


def test_link_opens_the_chat_and_leaves_the_address_bar_clean(open_page: OpenPage) -> None:
    page = open_page()
    assert page.url.endswith("/chat/")
    expect(page.get_by_role("heading", name="Hello, Ada Lovelace")).to_be_visible()
    page.get_by_role("button", name="What is 17").click()
    expect(page.locator(".entry.user")).to_have_text(re.compile("What is 17 × 23"))
    expect(page.locator("#empty")).to_be_hidden()


def test_answer_grows_in_place_and_survives_a_reload(house: House, open_page: OpenPage) -> None:
    page = open_page()
    say(page, "hello")
    call = house.agent.wait_call()
    expect(page.locator(".entry.running")).to_have_count(1)
    call.say("First paragraph.\n\n")
    call.say("Second **par")
    expect(answers(page).locator("p")).to_have_count(2)
    page.evaluate("window.kept = document.querySelector('.entry.assistant p')")
    call.say("agraph** grows")
    expect(answers(page).locator("strong")).to_have_text("paragraph")
    assert page.evaluate("window.kept === document.querySelector('.entry.assistant p')")
    page.reload()
    expect(answers(page)).to_contain_text("Second paragraph grows")
    call.say(" and ends.")
    expect(answers(page)).to_contain_text("grows and ends.")
    call.finish()
    expect(page.locator(".entry.running")).to_have_count(0)
    expect(answers(page)).to_have_count(1)
    assert answers(page).inner_text() == "First paragraph.\n\nSecond paragraph grows and ends."
    assert page.evaluate("document.querySelectorAll('.entry').length") == 2


def test_finished_answer_is_not_built_again(house: House, open_page: OpenPage) -> None:
    page = open_page()
    say(page, "x")
    call = house.agent.wait_call()
    call.say("Some *text*\n\n```py\nprint(1)\n```\n\n- a\n- b")
    expect(answers(page).locator("li")).to_have_count(2)
    page.evaluate("window.kept = [...document.querySelectorAll('.entry.assistant .body > *')]")
    call.finish()
    expect(page.locator(".entry.running")).to_have_count(0)
    assert page.evaluate("window.kept.every((node) => node.isConnected)")


MARKDOWN = """# Title

Plain with **bold**, *italic*, `co*de*`, ~~gone~~, snake_case_name and 2*3*4.
Second line <b>not html</b>

1. one
2. two
   - inner
   - inner too
3. three

```python
def f(x):
    return "**" + x

print(f(1))
```

> quoted
> **text**

| a | b |
|---|---|
| 1 | 2 |

---
Last [link](https://example.com/a_(b)) and https://example.com/x?y=1. End"""


def test_markdown_is_the_same_however_it_is_cut(house: House, open_page: OpenPage) -> None:
    page = open_page()
    shapes = page.evaluate(
        """async (text) => {
          const { Markdown } = await import("/static/gateway/chat/markdown.js");
          const shape = (size) => {
            const root = document.createElement("div");
            const markdown = new Markdown(root);
            for (let at = 0; at < text.length; at += size)
              markdown.append(text.slice(at, at + size));
            markdown.end();
            return root.innerHTML;
          };
          return [1, 2, 3, 7, 20, 100, text.length].map(shape);
        }""",
        MARKDOWN,
    )
    assert set(shapes) == {shapes[-1]}
    html = shapes[-1]
    for part in (
        '<h3 dir="auto">Title</h3>', "<strong>bold</strong>", "<em>italic</em>",
        "<code>co*de*</code>", "<del>gone</del>", "snake_case_name and 2*3*4",
        "&lt;b&gt;not html&lt;/b&gt;", "<ol ",
        '<ul dir="auto"><li>inner</li><li>inner too</li></ul>',
        'return "**" + x\n\nprint(f(1))</code>', "<blockquote>", "<td dir=\"auto\">2</td>", "<hr>",
        'href="https://example.com/a_(b)"', 'href="https://example.com/x?y=1"',
    ):  # fmt: skip
        assert part in html, part
    assert html.count('rel="noopener noreferrer nofollow"') == 2


def test_a_very_long_line_and_a_very_long_answer_stay_quick(
    house: House, open_page: OpenPage
) -> None:
    page = open_page()
    took, text = page.evaluate(
        """async () => {
          const { Markdown } = await import("/static/gateway/chat/markdown.js");
          const root = document.createElement("div");
          const markdown = new Markdown(root);
          const start = performance.now();
          for (let i = 0; i < 5000; i += 1) markdown.append("word ".repeat(20));
          markdown.append("\\n\\n```\\n");
          for (let i = 0; i < 5000; i += 1) markdown.append("line of code\\n");
          markdown.end();
          return [performance.now() - start, root.textContent];
        }"""
    )
    assert took < 4000
    assert text.count("word ") == 100_000
    assert text.count("line of code") == 5000


@pytest.mark.parametrize("who", ["agent", "person"])
def test_nothing_anybody_writes_becomes_markup(house: House, open_page: OpenPage, who: str) -> None:
    page = open_page()
    say(page, XSS if who == "person" else "x")
    call = house.agent.wait_call()
    for at in range(0, len(XSS), 5):
        call.say(XSS[at : at + 5] if who == "agent" else "-")
    call.finish()
    expect(page.locator(".entry.running")).to_have_count(0)
    for _ in range(2):
        expect(page.locator("#timeline")).to_contain_text("<script>window.hurt=1</script>")
        assert page.evaluate("window.hurt") is None
        bad = page.evaluate(
            """[...document.querySelectorAll("#timeline *")].filter((e) =>
                 ["SCRIPT", "IMG", "IFRAME"].includes(e.tagName)
                 || (e.tagName === "A" && !/^https?:/.test(e.href))
                 || [...e.attributes].some((a) => a.name.startsWith("on"))).length"""
        )
        assert bad == 0
        page.reload()


def test_view_follows_the_end_unless_the_person_looks_elsewhere(
    house: House, open_page: OpenPage
) -> None:
    page = open_page()
    say(page, "long")
    call = house.agent.wait_call()
    for number in range(80):
        call.say(f"Paragraph {number}\n\n")
    expect(page.get_by_text("Paragraph 79")).to_be_in_viewport()
    page.locator("#scroller").evaluate("(box) => { box.scrollTop = 0 }")
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    call.say("Paragraph 80\n\n")
    expect(page.get_by_text("Paragraph 80")).to_have_count(1)
    assert page.locator("#scroller").evaluate("(box) => box.scrollTop") == 0
    call.finish()
    expect(page.locator(".entry.running")).to_have_count(0)
    context = page.context
    other = open_page(context=context)
    say(other, "from the other tab")
    house.agent.wait_call().finish("Second answer")
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    page.get_by_role("button", name="1 new").click()
    expect(page.locator("#timeline").get_by_text("Second answer")).to_be_in_viewport()
    expect(page.locator("#to-end")).to_be_hidden()


def test_connection_comes_back_and_nothing_is_missing(house: House, open_page: OpenPage) -> None:
    page = open_page()
    say(page, "before")
    call = house.agent.wait_call()
    call.say("Said before the break, ")
    expect(answers(page)).to_contain_text("before the break")
    house.gateway.stop()
    try:
        expect(page.locator("#connection")).to_contain_text("Connection lost")
        say(page, "written while it was down")
    finally:  # the gateway is everybody's in this run
        house.gateway.restart()
    expect(page.locator("#connection")).to_have_text("")
    house.agent.wait_call().finish("first again")
    house.agent.wait_call().finish("second too")
    expect(answers(page)).to_have_count(2)
    expect(page.locator(".entry.user")).to_have_count(2)
    expect(page.locator("#timeline")).to_contain_text("second too")
    expect(page.locator(".pending")).to_have_count(0)


def test_unsent_message_survives_a_reload(house: House, open_page: OpenPage) -> None:
    page = open_page()
    page.route_web_socket(re.compile("/ws/chat/"), lambda socket: socket.close())
    page.reload()
    page.get_by_label("Your message").fill("do not lose me")
    page.keyboard.press("Enter")
    expect(page.locator(".entry.user")).to_have_count(1)
    fresh = open_page(context=page.context)
    page.close()
    expect(fresh.locator(".entry.user .body")).to_have_text("do not lose me")
    assert house.agent.wait_call().asked == "do not lose me"
    expect(fresh.locator(".pending")).to_have_count(0)
    fresh.reload()
    expect(fresh.locator(".entry.user")).to_have_count(1)


def test_refused_message_can_be_edited(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("Your message").fill("é" * 20_000)
    expect(page.locator("#hint")).to_contain_text("Too long to send: 40 of 32 KB")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.get_by_label("Your message").fill("fine")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_broken_answer_stays_readable_with_its_mark(house: House, open_page: OpenPage) -> None:
    page = open_page()
    say(page, "x")
    call = house.agent.wait_call()
    call.say("Half a")
    expect(answers(page)).to_have_text("Half a")
    call.break_off()
    for _ in range(2):
        expect(page.locator(".entry.system .body")).to_contain_text("Sorry")
        expect(answers(page)).to_have_text("Half a")
        expect(page.locator(".entry.failed .note")).to_have_text("The answer broke off here")
        page.reload()


def test_new_conversation_is_marked(house: House, open_page: OpenPage) -> None:
    page = open_page()
    say(page, "one")
    house.agent.wait_call().finish("first")
    expect(page.locator("#timeline")).to_contain_text("first")
    house.sql("UPDATE sessions_app_session SET state = 'terminated'")
    say(page, "two")
    house.agent.wait_call().finish("second")
    expect(page.locator(".line").nth(1)).to_have_text("New conversation")
    page.reload()
    expect(page.locator(".line").nth(1)).to_have_text("New conversation")


def test_enter_sends_and_shift_enter_makes_a_line(house: House, open_page: OpenPage) -> None:
    page = open_page()
    box = page.get_by_label("Your message")
    low = box.bounding_box()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("three")
    high = box.bounding_box()
    assert low and high and high["height"] > low["height"]
    page.keyboard.press("Enter")
    assert house.agent.wait_call().asked == "one\ntwo\nthree"
    expect(box).to_have_value("")


def test_code_can_be_copied(house: House, open_page: OpenPage) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    say(page, "x")
    house.agent.wait_call().finish("```sh\nmake  run\n# two\n```")
    browsers.click_says(page.get_by_role("button", name="Copy"), "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "make  run\n# two"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_small_phone_and_reads_well(house: House, open_page: OpenPage, scheme: str) -> None:
    page = open_page(
        viewport={"width": 360, "height": 700}, is_mobile=True, has_touch=True, color_scheme=scheme
    )
    say(page, "w" * 400)
    house.agent.wait_call().finish(
        "x" * 400
        + "\n\n```\n"
        + "y" * 400
        + "\n```\n\n| "
        + "z" * 200
        + " | b |\n|---|---|\n| 1 | 2 |"
        "\n\nمرحبا بالعالم\n\n- واحد"
    )
    expect(page.locator(".sheet td")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("#scroller").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    assert (
        answers(page).locator("p").nth(1).evaluate("(p) => getComputedStyle(p).direction") == "rtl"
    )
    bars = answers(page).locator("ul")
    assert bars.evaluate("(list) => getComputedStyle(list).direction") == "rtl"
    assert page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => {
      c /= 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const seen = element.checkVisibility() && !element.closest(".visually-hidden, :disabled");
    if (!own || !seen) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push([element.className || element.tagName, ratio]);
  }
  return poor;
}"""


def test_colours_can_be_chosen_and_are_kept(open_page: OpenPage) -> None:
    page = open_page(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name="Colours")
    button.click()
    assert page.evaluate(ground) == light
    button.click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark


def test_blocked_person_is_told(house: House, open_page: OpenPage) -> None:
    link, user_id = house.invite("Bob")
    page = open_page(link)
    say(page, "hi")
    house.agent.wait_call().finish("ok")
    expect(answers(page)).to_have_text("ok")
    house.sql("UPDATE sessions_app_contact SET access = 'blocked' WHERE user_id = ?", user_id)
    expect(page.locator("#connection")).to_contain_text("closed")
    expect(page.get_by_label("Your message")).to_be_disabled()
    page.get_by_role("link", name="Open it again").click()
    expect(page.get_by_role("heading", name="closed for you")).to_be_visible()


def test_account_signs_in_and_leaves_again(house: House, browser: Browser) -> None:
    context = browsers.new_person(browser)
    page = context.new_page()
    page.goto(f"{house.url}/chat/")
    page.get_by_label("Username").fill("person")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill("not-a-password-1")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".who")).to_have_text("person")
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="Come in")).to_be_visible()
    page.goto(f"{house.url}/chat/")
    expect(page.get_by_role("heading", name="Come in")).to_be_visible()
    context.close()
