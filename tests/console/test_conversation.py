"""A session's page from outside: what it shows, who may do what, what its buttons do."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from gateway.console.transcript import PAGE
from gateway.models import Agent, Audit, Delivery, Turn
from sessions_app.models import Attachment, Message, Session
from tests.console import past, things

pytestmark = pytest.mark.django_db


@pytest.fixture
def session() -> Session:
    """All that can happen in a conversation."""
    Agent.objects.get_or_create(name="pi", defaults={"url": "http://127.0.0.1:9/"})
    return Session.objects.get(pk=past.everything())


class Tags(HTMLParser):
    """Which elements and attributes a page really has."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.links.update(value or "" for name, value in attrs if name in ("href", "src"))


def login(role: str) -> Client:
    user = User.objects.create_user(role, is_staff=True)
    user.groups.set(Group.objects.filter(name=role))
    client = Client()
    client.force_login(user)
    return client


def address(session: Session) -> str:
    return reverse("admin:sessions_app_session_change", args=(session.pk,))


def act(client: Client, session: Session, do: str) -> int:
    return client.post(
        reverse("admin:conversation-act", args=(session.pk,)), {"do": do}
    ).status_code


def shown(client: Client, session: Session) -> str:
    page = client.get(address(session))
    assert page.status_code == 200
    return page.content.decode()


def test_it_reads_as_a_conversation(session: Session) -> None:
    page = shown(login("viewer"), session)
    kinds = re.findall(r'<article class="entry (\w+)', page)
    assert kinds == [
        "person", "agent", "person", "agent", "person", "agent", "person", "turn", "note",
        "person", "turn", "person", "agent", "person", "turn", "operator", "person", "turn",
    ]  # fmt: skip
    assert "first token 380 ms · total 3.0 s · prompt tokens 312" in page
    assert "part 2 of 3 not sent" in page and "part 3 of 3 unsure" in page
    assert "I was about **to" in page and "with silence" in page


def test_what_people_and_agents_wrote_is_text(session: Session) -> None:
    page = shown(login("operator"), session)
    inside = page[page.index('id="entries"') : page.index('id="to-end"')]
    found = Tags()
    found.feed(inside)
    assert found.names <= {
        "article", "div", "span", "p", "ul", "li", "footer", "time", "details", "summary", "pre",
        "code", "bdi", "button", "a",
    }  # fmt: skip
    assert all(link.startswith("/admin/gateway/") for link in found.links)
    assert not [name for name in found.attributes if name.startswith("on") or name == "style"]
    assert "&lt;img src=x onerror=" in inside and "{{ 7|add:7 }}" in inside


def test_it_leads_to_the_person_the_turns_the_parts_and_the_audit(session: Session) -> None:
    viewer = login("viewer")
    links = Tags()
    links.feed(shown(viewer, session))
    turn, part = Turn.objects.get(state="quarantined"), Delivery.objects.get(state="failed")
    wanted = [
        reverse("admin:sessions_app_contact_change", args=(session.contact_id,)),
        reverse("admin:gateway_turn_change", args=(turn.pk,)),
        reverse("admin:gateway_delivery_change", args=(part.pk,)),
        f"{reverse('admin:gateway_audit_changelist')}?q={session.pk}",
    ]
    assert set(wanted) <= links.links
    act(login("operator"), session, f"drop:{part.pk}")
    page = {address: viewer.get(address) for address in wanted}
    assert {answer.status_code for answer in page.values()} == {200}
    assert part.key in page[wanted[3]].content.decode()


def test_errors_are_words_and_their_codes_are_told_on_hover(session: Session) -> None:
    page = shown(login("viewer"), session)
    assert 'title="quarantined">Cut off again and again</span>' in page
    assert "<code>quarantined</code>" not in page


def test_a_reply_of_very_many_parts_tells_which_was_not_sent() -> None:
    session = things.conversation()
    reply = Message.objects.create(
        session=session, seq=1001, role="assistant", origin="agent", text="long", channel="webchat"
    )
    for number in range(150):
        state = "failed" if number == 119 else "sent"
        things.letter(session, "", part=number, message=reply, state=state)
    viewer = login("viewer")
    page = shown(viewer, session)
    assert "part 120 of 150 not sent" in page and "and 50 more parts" in page
    Delivery.objects.update(state="sent")
    page = shown(viewer, session)
    assert "sent in 150 parts" in page and "and 50 more" in page


def test_other_sessions_of_the_person_are_linked(session: Session) -> None:
    page = shown(login("viewer"), session)
    assert (
        f'rel="prev" href="{reverse("admin:sessions_app_session_change", args=("sess_0001",))}"'
        in page
    )
    assert (
        f'rel="next" href="{reverse("admin:sessions_app_session_change", args=("sess_0003",))}"'
        in page
    )


def test_viewer_sees_and_cannot_step_in(session: Session) -> None:
    viewer = login("viewer")
    page = shown(viewer, session)
    assert 'name="do"' not in page
    turn = Turn.objects.get(state="quarantined")
    letter = Delivery.objects.get(state="failed")
    for do in (
        "terminate",
        "restore",
        f"again:{turn.pk}",
        f"send:{letter.pk}",
        f"drop:{letter.pk}",
    ):
        assert act(viewer, session, do) == 403
    assert not Audit.objects.exists()


def test_a_stopped_turn_is_asked_again_and_a_waiting_part_let_go() -> None:
    session = things.conversation()
    stopped = things.turn(session, "cancelled", code="", error_code="")
    taken = things.turn(session, "cancelled", "superseded")
    waiting = things.letter(
        session, "", state="queued", error_code="", message=Message.objects.get()
    )
    operator = login("operator")
    page = shown(operator, session)
    assert f'value="again:{stopped.pk}"' in page and f'value="again:{taken.pk}"' not in page
    assert f'value="drop:{waiting.pk}"' in page and f'value="send:{waiting.pk}"' not in page
    assert act(operator, session, f"again:{stopped.pk}") == 302
    assert act(operator, session, f"drop:{waiting.pk}") == 302
    stopped.refresh_from_db()
    waiting.refresh_from_db()
    assert (stopped.state, waiting.error_code) == ("queued", "discarded")
    actions = Audit.objects.order_by("pk").values_list("actor", "action")
    assert list(actions) == [("operator", "requeue_turn"), ("operator", "discard_delivery")]


def test_a_conversation_in_an_operators_hands_is_given_back() -> None:
    session = things.conversation()
    operator, viewer = login("operator"), login("viewer")
    assert 'value="give"' not in shown(operator, session)
    Session.objects.update(handler="operator")
    assert 'value="give"' in shown(operator, session) and 'value="give"' not in shown(
        viewer, session
    )
    assert act(viewer, session, "give") == 403
    assert act(operator, session, "give") == 302
    assert Session.objects.get().handler == "agent"
    line = Audit.objects.get()
    assert (line.actor, line.action, line.row) == ("operator", "hand_over", session.pk)


def test_who_may_not_see_messages_sees_no_conversation(session: Session) -> None:
    nobody = login("nobody")
    part = reverse("admin:conversation-entries", args=(session.pk,))
    assert nobody.get(address(session)).status_code == 403
    assert nobody.get(part).status_code == 403
    assert act(nobody, session, "terminate") == 403
    assert Client().get(part).status_code == 302
    assert login("operator").post(address(session), {}).status_code == 403


def test_session_is_ended_and_brought_back(session: Session) -> None:
    operator = login("operator")
    assert 'value="terminate"' in shown(operator, session)
    assert act(operator, session, "terminate") == 302
    session.refresh_from_db()
    assert session.state == "terminated"
    assert 'value="restore"' in shown(operator, session)
    assert act(operator, session, "restore") == 302
    session.refresh_from_db()
    assert session.state == "active"
    actions = list(Audit.objects.order_by("pk").values_list("actor", "action"))
    assert actions == [("operator", "terminate_session"), ("operator", "restore_session")]


def test_restore_says_why_it_cannot(session: Session) -> None:
    operator = login("operator")
    act(operator, session, "terminate")
    Session.objects.create(
        channel="webchat", scope_key=session.scope_key, contact=session.contact, chat_id="c"
    )
    act(operator, session, "restore")
    assert "a newer conversation of this person is open" in shown(operator, session)


def test_turns_are_tried_again_let_go_and_stopped(session: Session) -> None:
    operator = login("operator")
    failed, stuck = Turn.objects.get(state="failed"), Turn.objects.get(state="quarantined")
    assert act(operator, session, f"discard:{stuck.pk}") == 302
    assert act(operator, session, f"again:{failed.pk}") == 302
    assert (Turn.objects.get(pk=stuck.pk).state, Turn.objects.get(pk=failed.pk).state) == (
        "failed",
        "queued",
    )
    assert f'value="cancel:{failed.pk}"' in shown(operator, session)
    assert act(operator, session, f"cancel:{failed.pk}") == 302
    assert Turn.objects.get(pk=failed.pk).state == "cancelled"


def test_dead_parts_are_sent_again_or_let_go(session: Session) -> None:
    operator = login("operator")
    failed, unsure = Delivery.objects.get(state="failed"), Delivery.objects.get(state="unsure")
    assert act(operator, session, f"send:{unsure.pk}") == 302
    assert act(operator, session, f"drop:{failed.pk}") == 302
    unsure.refresh_from_db()
    assert (unsure.state, unsure.repeated) == ("queued", True)
    page = shown(operator, session)
    assert "discarded" in page and f'value="drop:{failed.pk}"' not in page


def test_rows_of_other_sessions_are_out_of_reach(session: Session) -> None:
    operator = login("operator")
    other = Session.objects.get(pk="sess_0001")
    letter, turn = Delivery.objects.get(state="failed"), Turn.objects.get(state="failed")
    for do in (
        f"send:{letter.pk}",
        f"again:{turn.pk}",
        "send:x",
        "again:",
        "dance",
        "",
        "terminate:1",
    ):
        assert act(operator, other, do) == 404
    assert not Audit.objects.exists()


def test_pages_meet_without_gap_or_repetition() -> None:
    Agent.objects.get_or_create(name="pi", defaults={"url": "http://127.0.0.1:9/"})
    story = past.Story("Ada", "guest_2")
    for number in range(350):
        story.ask(f"question {number}")
        story.turn("failed" if number % 50 == 49 else "done")
        if number % 50 != 49:
            story.answer(f"answer {number}")
    pk = story.end()
    viewer = login("viewer")
    part = reverse("admin:conversation-entries", args=(pk,))
    keys: list[str] = []
    page = viewer.get(reverse("admin:sessions_app_session_change", args=(pk,))).content.decode()
    while True:
        keys = re.findall(r'<article [^>]*?id="(\w+)"', page) + keys
        first = re.search(r'data-(?:before|first)="(\d+)"', page)
        if not re.search(r'data-earlier="1"|id="earlier" data-before', page):
            break
        assert first
        page = viewer.get(part, {"before": first[1]}).content.decode()
    wanted = []
    for message in Message.objects.filter(session=pk).order_by("seq"):
        wanted.append(f"m{message.pk}")
        if message.role == "user" and (message.seq // 1000 - 1) % 50 == 49:
            wanted.append(f"t{Turn.objects.get(session=pk, upto_seq=message.seq).pk}")
    assert keys == wanted


def entries_of(page: str) -> list[str]:
    return re.findall(r'<article [^>]*?id="(\w+)"', page)


def test_news_come_in_pages_that_meet_without_gap_or_repetition() -> None:
    Agent.objects.get_or_create(name="pi", defaults={"url": "http://127.0.0.1:9/"})
    story = past.Story("Ada", "guest_2")
    for number in range(PAGE + 10):
        story.ask(f"question {number}")
        story.turn("failed" if number % 30 == 29 else "done")
        if number % 30 != 29:
            story.answer(f"answer {number}", parts=0)
    pk = story.end()
    viewer = login("viewer")
    part = reverse("admin:conversation-entries", args=(pk,))
    keys: list[str] = []
    place, pages = "0", 0
    while place:
        page = viewer.get(part, {"since": place}).content.decode()
        keys += entries_of(page)
        found = re.search(r'data-end="(\d*)"', page)
        assert found
        place, pages = found[1], pages + 1
    wanted = []
    for message in Message.objects.filter(session=pk).order_by("seq"):
        wanted.append(f"m{message.pk}")
        if message.role == "user" and (message.seq // 1000 - 1) % 30 == 29:
            wanted.append(f"t{Turn.objects.get(session=pk, upto_seq=message.seq).pk}")
    assert keys == wanted
    assert pages == 3


def test_many_words_of_an_operator_after_one_message_are_all_told() -> None:
    Agent.objects.get_or_create(name="pi", defaults={"url": "http://127.0.0.1:9/"})
    story = past.Story("Ada", "guest_2")
    story.ask("question")
    turn = story.turn("failed")
    messages = [
        Message(session=story.session, seq=1500 + number, role="assistant", origin="operator",
                channel="webchat", text="word", created_at=story.at)
        for number in range(PAGE + 50)
    ]  # fmt: skip
    Message.objects.bulk_create(messages)
    pk = story.end()
    viewer = login("viewer")
    part = reverse("admin:conversation-entries", args=(pk,))
    first = viewer.get(part, {"since": "1000"}).content.decode()
    end = re.search(r'data-end="(\d+)"', first)
    assert end
    rest = viewer.get(part, {"since": end[1]}).content.decode()
    keys = entries_of(first) + entries_of(rest)
    assert len(keys) == len(set(keys)) == PAGE + 52
    assert f"t{turn.pk}" in entries_of(first)


@pytest.mark.parametrize("query", ["at=x", "at=-1", "at=" + "9" * 40, "at=999999999"])
def test_odd_places_do_no_harm(session: Session, query: str) -> None:
    assert login("viewer").get(f"{address(session)}?{query}").status_code == 200


def test_unknown_session_leads_back() -> None:
    viewer = login("viewer")
    missing = reverse("admin:sessions_app_session_change", args=("sess_none",))
    assert viewer.get(missing).status_code == 302
    assert viewer.get(reverse("admin:conversation-entries", args=("sess_none",))).status_code == 404


def test_events_and_usage_of_any_shape_are_shown(session: Session) -> None:
    turn, viewer = Turn.objects.get(state="failed"), login("viewer")
    odd = (([1, "x", None, {"kind": None}], {"a": [1]}), ({"no": "list"}, ["x"]), ([], 7))
    for events, usage in odd:
        Turn.objects.filter(pk=turn.pk).update(events=events, usage=usage)
        assert shown(viewer, session)


def test_list_says_who_where_what_and_how_it_stands(session: Session) -> None:
    past.Story("Grace", "guest_3").end()
    waiting = past.Story("Alan", "guest_4")
    waiting.ask("Anybody there?", "pending")
    waiting.turn("queued", started_at=None, first_token_at=None, ended_at=None)
    waiting.end()
    viewer = login("viewer")
    sessions = reverse("admin:sessions_app_session_changelist")
    page = " ".join(viewer.get(sessions).content.decode().split())
    rows = {
        name: [re.sub("<[^>]+>", "", cell).strip() for cell in re.findall("<td.*?</td>", row)]
        for row in re.findall("<tr>.*?</tr>", page[page.index("<tbody>") :])
        for name in re.findall("<bdi>(.*?)</bdi></a>", row)
    }
    assert rows["Alan"] == ["Anybody there?", "waiting", "2 days ago", "webchat guest_4", "default"]
    assert rows["Grace"][0] == "–" and rows["Grace"][1] == "active"
    only = viewer.get(sessions, {"work": "waiting"}).content.decode()
    assert "Alan" in only and "Grace" not in only


def test_contact_leads_to_their_sessions(session: Session) -> None:
    viewer = login("viewer")
    page = viewer.get(reverse("admin:sessions_app_contact_changelist")).content.decode()
    link = re.search(r'href="([^"]*contact__id__exact=\d+)"', page)
    assert link
    past.Story("Grace", "guest_3").end()
    assert viewer.get(link[1]).context["cl"].result_count == 3


@pytest.mark.parametrize(
    ("table", "words", "found"),
    [
        ("sessions_app_session", "lovelace", 3),
        ("sessions_app_session", "sess_0002", 1),
        ("sessions_app_session", "sess_000", 0),
        ("sessions_app_message", "crashed us", 1),
        ("sessions_app_message", "us crashed", 1),
        ("sessions_app_message", "sess_0002", 14),
        ("sessions_app_contact", "GUEST_1", 1),
        ("gateway_turn", "no end", 1),
        ("gateway_delivery", "may have arrived", 1),
        ("gateway_delivery", "%", 0),
    ],
)
def test_searches_find_ids_and_words(session: Session, table: str, words: str, found: int) -> None:
    Delivery.objects.exclude(state="unsure").update(error_detail="")
    page = login("viewer").get(reverse(f"admin:{table}_changelist"), {"q": words})
    assert page.context["cl"].result_count == found


def test_pages_of_a_list_are_turned_without_counting() -> None:
    contact = past.Story("Ada", "guest_9").contact
    Session.objects.bulk_create(
        Session(channel="webchat", scope_key=f"s{n}", contact=contact, chat_id=f"chat {n}")
        for n in range(120)
    )
    viewer = login("viewer")
    sessions = reverse("admin:sessions_app_session_changelist")
    seen: list[str] = []
    query = "?o="
    while query:
        page = viewer.get(sessions + query).context["cl"]
        seen += [row.pk for row in page.result_list]
        query = page.next_page
    assert len(seen) == len(set(seen)) == 121
    assert viewer.get(sessions + "?p=0").status_code == 302
    assert viewer.get(sessions + "?p=99").status_code == 200


def test_a_file_is_fetched_again_from_its_own_button(admin_client: Client) -> None:
    session = things.conversation()
    Message.objects.update(external_id="1")
    message = session.messages.get()
    Attachment.objects.create(message=message, kind="image", handle="F-0", state="stored")
    file = Attachment.objects.create(message=message, kind="image", handle="F-1", state="failed")
    page = f"/admin/sessions_app/session/{session.pk}"
    assert f'value="fetch:{file.pk}"' in admin_client.get(f"{page}/change/").content.decode()
    admin_client.post(f"{page}/act/", {"do": f"fetch:{file.pk}"})
    file.refresh_from_db()
    assert file.state == "waiting"
    other = things.conversation(2)
    elsewhere = f"/admin/sessions_app/session/{other.pk}/act/"
    assert admin_client.post(elsewhere, {"do": f"fetch:{file.pk}"}).status_code == 404
