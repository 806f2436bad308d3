"""Telephone numbers in allowlists: any writing is the one form that messages have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._phone import e164
from adapters.imessage import ImessageAdapter
from adapters.telegram import TelegramAdapter
from adapters.whatsapp import WhatsappAdapter


@pytest.mark.parametrize(
    "written", ["+1 (555) 000-1111", "15550001111", " +1.555.000.1111 ", "1 555 000 1111"]
)
def test_a_number_in_any_writing_is_one_number(written: str) -> None:
    assert e164(written) == "+15550001111"
    assert WhatsappAdapter.user_id(written) == "15550001111"
    assert ImessageAdapter.user_id(written) == "+15550001111"


@pytest.mark.parametrize(
    "written", ["Ann@Example.com", "US.13491208655302741918", "12345", "x", ""]
)
def test_what_is_no_number_stays_what_it_is(written: str) -> None:
    assert e164(written) == written
    assert WhatsappAdapter.user_id(written) == written
    assert ImessageAdapter.user_id(written) == written.casefold()


def test_ids_that_only_look_like_numbers_are_left_alone() -> None:
    assert TelegramAdapter.user_id(" 15550001111 ") == "15550001111"


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert isinstance(e164(text), str)
