"""Telephone numbers in one form, for channels that know people by them."""

from __future__ import annotations

import phonenumbers


def e164(written: str) -> str:
    """`+15550001111` for a number with its country code in any writing; else the text itself."""
    text = written.strip()
    try:
        number = phonenumbers.parse(text if text.startswith("+") else f"+{text}")
    except phonenumbers.NumberParseException:
        return text
    digits = sum(one.isdecimal() for one in text)
    if digits < 7 or any(one.isalpha() or one == "@" for one in text):
        return text
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
