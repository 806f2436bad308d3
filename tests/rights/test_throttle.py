"""Guessing passwords is slow: by account and address, and by account alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client, override_settings
from django.utils import timezone

PASSWORD = "not-a-password-1"
HTTPS = ("HTTP_X_FORWARDED_PROTO", "https")

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def people() -> Iterator[None]:
    for name in ("ada", "bob"):
        User.objects.create_user(name, password=PASSWORD, is_staff=True)
    yield


def attempt(
    path: str = "/admin/login/", name: str = "ada", password: str = "wrong", **meta: Any
) -> HttpResponse:
    return Client().post(path, {"username": name, "password": password}, **meta)  # type: ignore[return-value]  # the test client's wrapper


def guess(times: int, **options: Any) -> None:
    for _ in range(times):
        attempt(**options)


def gets_in(name: str = "ada", **options: Any) -> bool:
    answer = attempt(name=name, password=PASSWORD, **options)
    assert answer.status_code in (302, 429)
    return answer.status_code == 302


@pytest.mark.parametrize("path", ["/admin/login/", "/chat/login/"])
def test_fifth_wrong_password_says_wait_and_the_right_one_does_not_help(path: str) -> None:
    guess(4, path=path)
    refused = attempt(path)
    assert refused.status_code == 429
    assert refused["Retry-After"] == "600"
    page = refused.content.decode()
    assert "Too many wrong passwords" in page and "10 minutes" in page
    assert not gets_in(path=path)


def test_both_login_forms_count_together() -> None:
    guess(3, path="/admin/login/")
    guess(2, path="/chat/login/")
    assert not gets_in(path="/admin/login/")


def test_other_accounts_are_not_locked_out() -> None:
    guess(5)
    assert gets_in("bob")


def test_four_mistakes_are_forgiven_and_forgotten() -> None:
    guess(4)
    assert gets_in()
    guess(4)
    assert gets_in()


def test_another_address_still_gets_in() -> None:
    guess(5, REMOTE_ADDR="203.0.113.9")
    assert not gets_in(REMOTE_ADDR="203.0.113.9")
    assert gets_in(REMOTE_ADDR="203.0.113.10")


def test_many_addresses_together_are_stopped_too() -> None:
    for number in range(10):
        guess(4, REMOTE_ADDR=f"203.0.113.{number}")
    assert gets_in(REMOTE_ADDR="198.51.100.1")
    for number in range(13):
        guess(4, REMOTE_ADDR=f"203.0.113.{number}")
    assert not gets_in(REMOTE_ADDR="198.51.100.1")


def test_made_up_forwarding_does_not_help_without_a_proxy() -> None:
    for number in range(5):
        attempt(HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
    assert not gets_in(HTTP_X_FORWARDED_FOR="203.0.113.77")


@override_settings(SECURE_PROXY_SSL_HEADER=HTTPS)
def test_behind_the_proxy_only_its_own_word_counts() -> None:
    for number in range(5):  # the client makes up the first, the proxy adds the last
        attempt(HTTP_X_FORWARDED_FOR=f"203.0.113.{number}, 198.51.100.7")
    assert not gets_in(HTTP_X_FORWARDED_FOR="203.0.113.77, 198.51.100.7")
    assert gets_in(HTTP_X_FORWARDED_FOR="198.51.100.8")


@override_settings(SECURE_PROXY_SSL_HEADER=HTTPS)
def test_a_peer_that_is_not_the_proxy_is_taken_at_its_own_address() -> None:
    guess(5, REMOTE_ADDR="203.0.113.9", HTTP_X_FORWARDED_FOR="198.51.100.1")
    assert not gets_in(REMOTE_ADDR="203.0.113.9", HTTP_X_FORWARDED_FOR="198.51.100.2")


@override_settings(SECURE_PROXY_SSL_HEADER=HTTPS)
@pytest.mark.parametrize("said", ["", "nonsense", "198.51.100.1, <script>"])
def test_unreadable_forwarding_counts_as_the_proxys_own(said: str) -> None:
    guess(5, HTTP_X_FORWARDED_FOR=said)
    assert not gets_in()


def test_lock_ends_by_itself() -> None:
    guess(5)
    guess(3)  # trying on does not make it longer
    ago = timezone.now() - timedelta(minutes=10, seconds=1)
    AccessAttempt.objects.update(attempt_time=ago)
    assert gets_in()


def test_tries_while_locked_do_not_prolong_it() -> None:
    guess(5)
    before = AccessAttempt.objects.get().attempt_time
    guess(3)
    assert AccessAttempt.objects.get().attempt_time == before


def test_whoever_runs_the_server_can_lift_it(capsys: pytest.CaptureFixture[str]) -> None:
    guess(5)
    call_command("axes_reset_username", "ada")
    assert gets_in()


def test_no_password_is_kept() -> None:
    guess(1, password="secret-i-mistyped")
    row = AccessAttempt.objects.get()
    assert "secret-i-mistyped" not in f"{row.post_data}{row.get_data}"
