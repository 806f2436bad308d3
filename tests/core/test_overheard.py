"""What was overheard reaches an agent once, however often its platform hands it over."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.ledger import Unavailable
from sessions_app.models import Message
from tests.core.house import House
from tests.core.kit import in_group, inbound

pytestmark = pytest.mark.usefixtures("agent")

REMARK = in_group("1", "hm", addressed=False)
REACTION = inbound("2", "reacted 👍", passive=True)


def told() -> list[str]:
    """What agents were told beside messages, in order."""
    contexts = Message.objects.filter(role="user").order_by("pk").values_list("context", flat=True)
    return [one["text"] for context in contexts for one in context.get("overheard", ())]


async def test_a_remark_that_is_handed_over_again_is_told_once() -> None:
    async with House() as house:
        for number in range(2):
            await house.write(REMARK, REACTION)
            await house.ingress.take(house.line, [REMARK])  # by a webhook, too
            await house.write(in_group(f"g{number}", "well?"), inbound(f"d{number}", "hello?"))
        await house.said(2)
        assert await house.read(told) == ["hm", "reacted 👍"]


async def test_a_remark_that_could_not_be_kept_is_told_when_it_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def busy(*_: Any) -> Any:
        raise Unavailable("the database is busy")

    async with House() as house:
        with monkeypatch.context() as out, pytest.raises(Unavailable):
            out.setattr(house.ledger, "do", busy)
            await house.write(REMARK)
        await house.write(REMARK)
        await house.write(in_group("g", "well?"))
        await house.said(1)
        assert await house.read(told) == ["hm"]
