"""The outbox, for tests of the sender: parts put in, and what became of them."""

from __future__ import annotations

from typing import Any

from adapters.base import Outbound, Receipt
from gateway.models import Delivery
from tests.core.house import House
from tests.core.kit import Behaviour, queue

Step = Receipt | Exception


def script(*steps: Step) -> Behaviour:
    """A platform that answers so, one send after the other, then well."""
    left = list(steps)

    def answer(outbound: Outbound) -> Receipt:
        step = left.pop(0) if left else Receipt("ok")
        if isinstance(step, Exception):
            raise step
        return step

    return answer


async def put(house: House, *texts: str, chat: str = "c1", **fields: Any) -> list[str]:
    """Parts that wait to be sent, in this order. Returns their keys."""
    rows: list[Delivery] = await house.read(lambda: [queue(text, chat, **fields) for text in texts])
    house.ledger.poke()
    return [row.key for row in rows]


async def row_of(house: House, text: str = "a") -> Delivery:
    """The part with this text."""
    found: Delivery = await house.read(lambda: Delivery.objects.get(text=text))
    return found


async def over(house: House, text: str = "a") -> Delivery:
    """The part, once it is neither waiting nor under way."""
    query = Delivery.objects.filter(text=text, state__in=["queued", "sending"])
    await house.settled(lambda: not query.exists())
    return await row_of(house, text)


def results(row: Delivery) -> list[str]:
    """How each try ended."""
    return [entry["result"] for entry in row.trace]
