"""What a message replies or reacts to, where the platform gives only an id: we know the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from adapters.base import Inbound, Quote
from gateway.ledger.entries import Entry
from sessions_app.sql import run_rows

Name = tuple[str, str, str]
"""Channel, chat, the platform's id."""

_SAID = """
WITH wanted(channel, chat_id, name) AS ({rows})
SELECT w.channel, w.chat_id, w.name, m.text, COALESCE(c.name, '')
FROM wanted w
JOIN sessions_app_message m ON m.channel = w.channel AND m.external_id = w.name
LEFT JOIN sessions_app_contact c ON c.channel = m.channel AND c.user_id = m.sender
UNION ALL
SELECT w.channel, w.chat_id, w.name, o.text, o.name
FROM wanted w
JOIN sessions_app_overheard o ON o.channel = w.channel AND o.external_id = w.name
"""

_SENT = """
WITH wanted(channel, chat_id, name) AS ({rows})
SELECT w.channel, w.chat_id, w.name, d.text, ''
FROM wanted w
JOIN gateway_delivery d
  ON d.channel = w.channel AND d.receipt = w.name AND d.chat_id = w.chat_id AND NOT d.receipt = ''
"""


def completed(entries: Sequence[Entry]) -> list[Entry]:
    """The same, with the texts of what they quote, as far as they went through us."""
    wanted = {name for entry in entries for name in _names(entry)}
    if not wanted:
        return list(entries)
    rows = [*run_rows(_SENT, sorted(wanted)), *run_rows(_SAID, sorted(wanted))]
    known = {(row[0], row[1], row[2]): (str(row[3]), str(row[4])) for row in rows if row[3]}
    return [_completed(entry, known) for entry in entries]


def _names(entry: Entry) -> Iterator[Name]:
    """The ids by which it may be known: ours of what was sent are bare where others name a chat."""
    quote, chat = entry.inbound.quote, entry.inbound.chat_id
    if quote is None or quote.text or not quote.external_id:
        return
    for name in dict.fromkeys((quote.external_id, quote.external_id.removeprefix(f"{chat}:"))):
        yield entry.scope.channel, chat, name


def _completed(entry: Entry, known: dict[Name, tuple[str, str]]) -> Entry:
    found = next((known[name] for name in _names(entry) if name in known), None)
    if found is None:
        return entry
    inbound: Inbound = entry.inbound
    assert inbound.quote is not None
    quote = Quote(found[0], inbound.quote.sender_name or found[1], inbound.quote.external_id)
    return replace(entry, inbound=replace(inbound, quote=quote))
