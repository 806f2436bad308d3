"""The pages around the chat: invitations, logins, refusals."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from gateway import invitations
from gateway.invitations import COOKIE, BadInvitation, invitation_url, read_invitation
from tests.web.house import PASSWORD, House


def token_of(link: str) -> str:
    return httpx.URL(link).params["invite"]


def test_invitation_becomes_a_cookie_and_leaves_the_address(house: House) -> None:
    link, user_id = house.invite("Zoë 🦞")
    answer = httpx.get(link)
    assert (answer.status_code, answer.headers["location"]) == (302, "/chat/")
    cookie = answer.headers["set-cookie"]
    for part in (f"{COOKIE}=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=7776000"):
        assert part in cookie
    page = httpx.get(f"{house.url}/chat/", cookies=answer.cookies)
    assert page.status_code == 200
    assert "Zoë 🦞" in page.text
    assert user_id in page.text
    assert "set-cookie" in page.headers  # renewed by the visit
    assert "no-store" in page.headers["cache-control"]


@pytest.mark.parametrize("token", ["", "x", "x:y:z", "\x00", "a" * 5000])
def test_bad_invitation_is_explained(house: House, token: str) -> None:
    answer = httpx.get(f"{house.url}/chat/", params={"invite": token})
    assert answer.status_code == 403
    assert "This invitation link does not work" in answer.text
    assert COOKIE not in answer.headers.get("set-cookie", "")


def test_changed_invitation_is_refused(house: House) -> None:
    link, _ = house.invite()
    token = token_of(link)
    changed = ("A" if token[5] != "A" else "B").join([token[:5], token[6:]])
    assert httpx.get(f"{house.url}/chat/", params={"invite": changed}).status_code == 403


def test_old_invitation_says_that_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_of(invitation_url("guest_1", "Ada", "http://127.0.0.1:8000"))
    assert read_invitation(token).user_id == "guest_1"
    monkeypatch.setattr(invitations, "MAX_AGE", timedelta(seconds=-1))
    with pytest.raises(BadInvitation) as refused:
        read_invitation(token)
    assert refused.value.expired


def test_link_and_cookie_are_not_interchangeable(house: House) -> None:
    link, _ = house.invite()
    answer = httpx.get(f"{house.url}/chat/", cookies={COOKIE: token_of(link)})
    assert answer.status_code == 302
    cookie = house.guest().cookie.partition("=")[2]
    assert httpx.get(f"{house.url}/chat/", params={"invite": cookie}).status_code == 403


def test_nobody_is_sent_to_a_page_that_explains(house: House) -> None:
    answer = httpx.get(f"{house.url}/chat/", follow_redirects=True)
    assert answer.status_code == 200
    assert "invitation" in answer.text
    assert 'name="password"' in answer.text


def test_any_active_account_can_sign_in(house: House) -> None:
    with httpx.Client(base_url=house.url, follow_redirects=True) as client:
        form = client.get("/chat/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token
        fields = {"username": "person", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
        page = client.post("/chat/login/", data=fields)
        assert page.url.path == "/chat/"
        assert 'data-user="user_' in page.text


def test_leaving_needs_the_page_itself(house: House) -> None:
    guest = house.guest()
    name, _, value = guest.cookie.partition("=")
    assert httpx.post(f"{house.url}/chat/leave/", cookies={name: value}).status_code == 403
    assert httpx.get(f"{house.url}/chat/leave/").status_code == 405


def test_blocked_person_gets_no_page(house: House) -> None:
    guest = house.guest("Bob")
    house.sql(
        "INSERT INTO sessions_app_contact"
        " (channel, user_id, aliases, name, access, preferences, notes, created_at)"
        " VALUES ('webchat', ?, '[]', '', 'blocked', '{}', '{}', '2026-01-02 03:04:05')",
        guest.user_id,
    )
    answer = httpx.get(f"{house.url}/chat/", headers={"cookie": guest.cookie})
    assert answer.status_code == 403
    assert "closed for you" in answer.text


def test_name_is_escaped_and_scripts_stay_outside(house: House) -> None:
    guest = house.guest("<script>alert(1)</script>\"'>")
    page = httpx.get(f"{house.url}/chat/", headers={"cookie": guest.cookie})
    assert "<script>alert" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.text)


def test_every_file_the_page_names_is_there(house: House) -> None:
    page = httpx.get(f"{house.url}/chat/", headers={"cookie": house.guest().cookie}).text
    files = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    seen: set[str] = set()
    while files:
        path = files.pop()
        answer = httpx.get(house.url + path)
        assert answer.status_code == 200, path
        seen.add(path)
        if path.endswith(".js"):
            assert answer.headers["content-type"].startswith("text/javascript")
            folder = path.rsplit("/", 1)[0]
            found = re.findall(r'from "\./([^"]+)"', answer.text)
            files |= {f"{folder}/{name}" for name in found} - seen
    assert len(seen) >= 9


@pytest.mark.django_db
def test_invite_prints_a_link(settings: object) -> None:
    out, err = StringIO(), StringIO()
    with override_settings(OPENCLAW_PUBLIC_URL="https://chat.example.com"):
        call_command("invite", "  Ada   Lovelace ", stdout=out, stderr=err)
    link = out.getvalue().strip()
    assert link.startswith("https://chat.example.com/chat/?invite=")
    guest = read_invitation(token_of(link))
    assert guest.name == "Ada Lovelace"
    assert guest.user_id.startswith("guest_")
    assert guest.user_id in err.getvalue()


@pytest.mark.django_db
def test_invite_again_is_the_same_guest() -> None:
    out = StringIO()
    call_command("invite", "Ada", "--guest", "guest_abc", stdout=out, stderr=StringIO())
    assert read_invitation(token_of(out.getvalue().strip())).user_id == "guest_abc"


@pytest.mark.parametrize("arguments", [["  "], ["x" * 200], ["Ada", "--guest", "user_1"]])
def test_invite_refuses_what_makes_no_sense(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("invite", *arguments, stdout=StringIO(), stderr=StringIO())


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8001"),
        ("0.0.0.0", "http://127.0.0.1:8001"),
        ("::1", "http://[::1]:8001"),
    ],
)
def test_links_lead_to_this_machine_unless_a_public_url_is_set(host: str, url: str) -> None:
    with override_settings(OPENCLAW_HOST=host, OPENCLAW_PORT=8001, OPENCLAW_PUBLIC_URL=""):
        assert invitations.base_url() == url
