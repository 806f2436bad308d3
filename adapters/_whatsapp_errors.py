"""Graph's errors as ours, by their code: status and title say little.

Codes: developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
"""

from __future__ import annotations

from adapters._http import redact
from adapters._rest import Answer
from adapters.base import ChannelDown, RateLimited, Refused, SendError, Transient, Unsure

WAITS = {  # seconds, where Graph itself names none
    4: 60.0,  # calls of the app
    80007: 60.0,  # calls of the business account
    130429: 5.0,  # messages of the number
    131056: 6.0,  # messages to one person
    131048: 3600.0,  # messages held as spam
    131064: 3600.0,
    133016: 600.0,
}
FOR_ALL = (4, 80007, 130429)
"""Limits of the app, the account or the number: everybody waits."""

AGAIN = (1, 2, 131000, 131016, 131057)
"""Graph's own trouble: it says that it did nothing."""

DOWN = (0, 3, 190, 368, 131031, 131042, 131045)
NOT_PERMITTED = (10, 131005, *range(200, 300))
PERMISSION = "whatsapp_business_messaging"
WINDOW = 131047


class OutsideWindow(Refused):
    """More than 24 hours since the person wrote: only templates are taken."""


def translated(answer: Answer, *secrets: str, upload: bool = False) -> SendError:
    """The error that an answer without a result stands for; `upload`: of a file's upload.

    Where only uploads are not permitted, texts may still go out.
    """
    error = (answer.data or {}).get("error")
    if not isinstance(error, dict) or type(error.get("code")) is not int:
        return _by_status(answer)
    code, detail = error["code"], _detail(error, *secrets)
    if code in WAITS or answer.status == 429:
        wait = answer.retry_after or WAITS.get(code, 5.0)
        return RateLimited(detail, wait, "bot" if code in FOR_ALL else "lane")
    if code == WINDOW:
        return OutsideWindow(f"outside the 24-hour window, only templates go out: {detail}")
    if code in NOT_PERMITTED and upload:
        return Refused(f"no permission to upload files ({PERMISSION}): {detail}")
    if code in (*DOWN, *NOT_PERMITTED):
        return ChannelDown(detail)
    if code in AGAIN or error.get("is_transient") is True:
        return Transient(detail) if answer.status < 500 else Unsure(detail)
    return Refused(detail) if answer.status < 500 else Unsure(detail)


def _by_status(answer: Answer) -> SendError:
    """Something between us and Graph answered, or Graph broke."""
    detail = f"status {answer.status}"
    if answer.status == 429:
        return RateLimited(detail, answer.retry_after or 5.0)
    if answer.status == 401:
        return ChannelDown(detail)
    if answer.status == 413:
        return Refused(detail)
    if 300 <= answer.status < 500:
        return Transient(detail)
    return Unsure(detail)


def _detail(error: dict[str, object], *secrets: str) -> str:
    more = error.get("error_data")
    said = more.get("details") if isinstance(more, dict) else None
    text = f"{error['code']}: {error.get('message', '')}" + (f" ({said})" if said else "")
    return redact(text, *secrets)
