"""Verb 1, `ingest`: what a platform handed over becomes messages and queued turns.

Hand-over rule, the only one between arriving and running: a message that waits
is `pending`, and its session has a queued turn that reaches up to it. Whoever
ends a turn or adds a message need not tell anyone; the claim looks at rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from adapters.base import Inbound
from gateway.guard import Verdict
from gateway.ledger import besides, overheard, pairing, quotes
from gateway.ledger.busy import QUEUE, Busy, Manners, queue_later, queue_turns, supersede
from gateway.ledger.commands import carry_out, command_in
from gateway.ledger.edits import change
from gateway.ledger.entries import Done, Entry, refused
from gateway.ledger.people import People
from gateway.ledger.records import Arrival, Ingested, Told
from gateway.ledger.statuses import note_statuses
from sessions_app import clock
from sessions_app.history import COMMAND
from sessions_app.manager import Found, NewMessage, Scope, SessionManager, number
from sessions_app.sql import Row, run_rows

ALBUM = timedelta(seconds=1)
"""How long the first file of an album waits for the others, so that one turn answers all."""

_KNOWN = """
WITH wanted(channel, external_id) AS ({rows})
SELECT m.channel, m.external_id
FROM wanted w
JOIN sessions_app_message m
  ON m.channel = w.channel AND m.external_id = w.external_id AND m.external_id IS NOT NULL
"""

IN_FLIGHT = """(
    EXISTS (SELECT 1 FROM gateway_turn t
            WHERE t.session_id = s.id AND t.state IN ('queued', 'running'))
 OR EXISTS (SELECT 1 FROM gateway_delivery d
            WHERE d.session_id = s.id AND d.state IN ('queued', 'sending')))
"""
"""A condition on `sessions_app_session s`: something of it is still under way."""

_BUSY = f"""
SELECT id FROM sessions_app_session s WHERE id IN ({{rows}}) AND {IN_FLIGHT}
"""  # noqa: S608  (a constant of ours)


class Policy(Protocol):
    """What the core decides for a channel; see `gateway.channels.Rules`."""

    def admits(self, inbound: Inbound, access: str) -> bool:
        """Whether this sender may talk to an agent; `access` is the contact's own."""

    def pairs(self, inbound: Inbound, access: str) -> bool:
        """Whether this sender gets a pairing code."""

    @property
    def group_context(self) -> int:
        """How much of what was overheard is kept."""


Judge = Callable[[str, Inbound], Verdict]
"""(channel, new message) -> whether it is let through; see `gateway.guard`."""


class Ingest:
    """The verb, with the policy it needs: who is let in, and how sessions live."""

    def __init__(
        self,
        sessions: SessionManager,
        rules: Callable[[str], Policy],
        judge: Judge = lambda channel, inbound: Verdict(True),
        busy: Busy = lambda channel, user, chat: QUEUE,
        *,
        commands: bool = True,
    ) -> None:
        """`judge` says whether a new message of somebody with access is too much."""
        self._sessions, self._rules, self._commands = sessions, rules, commands
        self._judge, self._busy = judge, busy
        self._overheard = True  # until we have looked

    def __call__(self, arrivals: Sequence[Arrival]) -> list[Ingested]:
        """One result per arrival, in order."""
        now = clock.now()
        people = People(arrivals)
        entries = _entries(arrivals, people, lambda arrival: arrival.inbounds)
        heard = _entries(arrivals, people, lambda arrival: arrival.overheard)
        found = self._found([entry.scope for entry in (*entries, *heard)], now)
        allowed = self._allowed(entries, found)
        fresh = _fresh([entry for entry in allowed if not entry.inbound.is_edit])
        done = Done()
        heard_now, told = self._guarded(fresh, done)
        self._take(quotes.completed(heard_now), found, done, now)
        self._say(told, done, now)
        # after the messages: an edit may come in one batch with what it edits
        change([entry for entry in allowed if entry.inbound.is_edit], now)
        self._overhear(quotes.completed(self._allowed(heard, found)), now)
        admitted = {id(entry) for entry in allowed}
        self._pair([entry for entry in entries if id(entry) not in admitted], found, now)
        people.remember()
        for arrival in arrivals:
            note_statuses(arrival.channel, arrival.statuses)
        besides.set_aside(arrivals, now)
        besides.move_cursors(arrivals, now)
        came, let_in = (Counter(entry.arrival for entry in some) for some in (entries, allowed))
        out = refused(entries, allowed)
        return [
            Ingested(
                messages=done.messages.get(index, ()),
                duplicates=let_in[index]
                - done.taken.get(index, 0)
                - len(done.kept_out.get(index, ())),
                denied=came[index] - let_in[index],
                kept_out=done.kept_out.get(index, ()),
                refused=frozenset((*out.get(index, ()), *done.unheard.get(index, ()))),
                cancelled=done.cancelled.get(index, ()),
                pause=done.pause,
            )
            for index in range(len(arrivals))
        ]

    def _guarded(
        self, fresh: list[Entry], done: Done
    ) -> tuple[list[Entry], list[tuple[int, besides.Note]]]:
        """Those that do not flood us, and what the others are told (by arrival), once."""
        heard, told = [], []
        for entry in fresh:
            verdict = self._judge(entry.scope.channel, entry.inbound)
            if verdict.admitted:
                heard.append(entry)
                continue
            done.unheard.setdefault(entry.arrival, set()).add(entry.inbound.external_id)
            if verdict.why:
                done.kept_out.setdefault(entry.arrival, []).append(verdict.why)
            if verdict.notice:
                note = besides.Note(entry.scope, _target(entry.inbound), verdict.notice)
                told.append((entry.arrival, note))
        return heard, told

    def _say(self, told: list[tuple[int, besides.Note]], done: Done, now: datetime) -> None:
        """Tell them; after the messages, whose places in the conversation come first."""
        if told:
            kept = besides.say(self._sessions, [note for _, note in told], now)
            for (arrival, _), place in zip(told, kept, strict=True):
                done.messages.setdefault(arrival, []).extend([place] if place else [])

    def _allowed(self, entries: list[Entry], found: dict[Scope, Found]) -> list[Entry]:
        return [
            entry
            for entry in entries
            if self._rules(entry.scope.channel).admits(entry.inbound, found[entry.scope].access)
        ]

    def _pair(self, denied: list[Entry], found: dict[Scope, Found], now: datetime) -> None:
        strangers = {
            entry.scope: _target(entry.inbound)
            for entry in denied
            if self._rules(entry.scope.channel).pairs(entry.inbound, found[entry.scope].access)
        }
        if strangers:
            pairing.offer(strangers, now)

    def _overhear(self, heard: list[Entry], now: datetime) -> None:
        for channel in {entry.scope.channel for entry in heard}:
            said = [(channel, entry.inbound) for entry in heard if entry.scope.channel == channel]
            overheard.keep(said, self._rules(channel).group_context, now)
            self._overheard = True

    def _take(
        self, fresh: list[Entry], found: dict[Scope, Found], done: Done, now: datetime
    ) -> None:
        """Messages and commands in the order in which they came."""
        waiting: list[Entry] = []
        for entry in fresh:
            if self._commands and command_in(entry.inbound.text):
                self._append(waiting, found, done, now)
                waiting = []
                self._tell(entry, done, now)
                found |= self._sessions.find([one.scope for one in fresh])
            else:
                waiting.append(entry)
        self._append(waiting, found, done, now)

    def _tell(self, entry: Entry, done: Done, now: datetime) -> None:
        """Keep a command as a message, do it, answer it."""
        found = self._sessions.get_or_create(self._sessions.find([entry.scope]))[entry.scope]
        message, command = _message(entry, found, {}), command_in(entry.inbound.text)
        message.disposition, message.context = "silent", {COMMAND: command}
        last = {message.session: found.last_seq}
        number([message], last)
        (row,) = self._sessions.append_message([message], now)
        self._sessions.touch({message.session: (message.channel, last[message.session])}, now)
        where = (message.channel, entry.inbound.chat_id, message.target)
        said = (message.text, message.sender)
        told = Told(message.session, message.seq or 0, *where, *said)
        cancelled, answer = carry_out(command, told, self._sessions, now)
        done.note(entry.arrival, message.session, row)
        done.messages.setdefault(entry.arrival, []).extend(
            [(message.session, answer)] if answer is not None else []
        )
        done.cancelled.setdefault(entry.arrival, []).extend(cancelled)

    def _found(self, scopes: list[Scope], now: datetime) -> dict[Scope, Found]:
        """What there is for each scope; sessions idle for too long are ended on the way."""
        found = self._sessions.find(set(scopes))
        late = [
            item.session
            for item in found.values()
            if item.session and item.expires_at and item.expires_at <= now
        ]
        over = set(late) - set(in_flight(late))
        if over:
            self._sessions.expire(sorted(over), now)
            found |= self._sessions.find([s for s, item in found.items() if item.session in over])
        return found

    def _append(
        self, entries: list[Entry], found: dict[Scope, Found], done: Done, now: datetime
    ) -> None:
        if not entries:
            return
        found = self._sessions.get_or_create({entry.scope: found[entry.scope] for entry in entries})
        last_seq = {str(item.session): item.last_seq for item in found.values()}
        around = self._around(entries)
        messages = [_message(entry, found[entry.scope], around) for entry in entries]
        number(messages, last_seq)
        ids = self._sessions.append_message(messages, now)
        waiting: dict[str, int] = {}
        for entry, message, row in zip(entries, messages, ids, strict=True):
            if row is not None:
                done.note(entry.arrival, message.session, row)
                if message.disposition == "pending":
                    waiting[message.session] = message.seq or 0
        self._sessions.attach(_files(entries, ids), now)
        channels = {message.session: message.channel for message in messages}
        self._sessions.touch(
            {session: (channel, last_seq[session]) for session, channel in channels.items()}, now
        )
        by_session = [(str(found[entry.scope].session), entry) for entry in entries]
        self._queue(waiting, by_session, done, now)

    def _queue(
        self,
        waiting: dict[str, int],
        entries: Sequence[tuple[str, Entry]],
        done: Done,
        now: datetime,
    ) -> None:
        """Turns for what waits in each session, with the manners of its agent."""
        last = dict(entries)
        manners = {session: self._manners(last[session]) for session in waiting}
        late = {one: how.seconds for one, how in manners.items() if how.busy == "debounce"}
        albums = {one for one, entry in entries if entry.inbound.album} - late.keys()
        queue_turns({s: seq for s, seq in waiting.items() if s not in albums | late.keys()}, now)
        queue_turns({s: seq for s, seq in waiting.items() if s in albums}, now + ALBUM)
        if late:
            put_off = {one: waiting[one] for one in late}
            done.pause = max(done.pause, queue_later(put_off, late, now))
        if hasty := [one for one, how in manners.items() if how.busy == "interrupt"]:
            for session, turn in supersede(hasty, now).items():
                done.cancelled.setdefault(last[session].arrival, []).append(turn)

    def _manners(self, entry: Entry) -> Manners:
        inbound = entry.inbound
        how = self._busy(entry.scope.channel, inbound.user_id, inbound.chat_id)
        if how.busy == "debounce" and inbound.album:
            return Manners(how.busy, max(how.seconds, ALBUM.total_seconds()))
        return how

    def _around(self, entries: list[Entry]) -> dict[tuple[str, str], list[dict[str, str]]]:
        """What was overheard in the chats of these messages; nobody else gets it."""
        if self._overheard:
            self._overheard = overheard.anything()
        if not self._overheard:
            return {}
        return overheard.take((entry.scope.channel, entry.inbound.chat_id) for entry in entries)


def _entries(
    arrivals: Sequence[Arrival], people: People, of: Callable[[Arrival], Sequence[Inbound]]
) -> list[Entry]:
    return [
        Entry(index, inbound, scope_of(arrival, inbound), arrival.fetches_media)
        for index, arrival in enumerate(arrivals)
        for inbound in (people.known(arrival.channel, one) for one in of(arrival))
    ]


def scope_of(arrival: Arrival, inbound: Inbound) -> Scope:
    """Direct chats: one session per person; groups: one per chat, or one per member if set so.

    A thread of a group (a topic) is a chat of its own: one turn answers all that waits in
    a session, and its answer goes to one place.
    """
    member = f"user:{inbound.user_id}"
    if inbound.is_group:
        thread = inbound.target.get("thread")
        key = f"chat:{inbound.chat_id}" + (f":thread:{thread}" if thread is not None else "")
        key += f":{member}" if arrival.group_per_member else ""
    else:
        key = member
    name = inbound.sender_name[:255]
    return Scope(arrival.channel, key, inbound.user_id, inbound.chat_id, name)


def ended_of(sessions: Sequence[str]) -> list[str]:
    """Those of `sessions` that have ended."""
    over = "SELECT id FROM sessions_app_session WHERE id IN ({rows}) AND state = 'terminated'"
    return [row[0] for row in run_rows(over, [(session,) for session in sessions])]


def in_flight(sessions: Sequence[str]) -> list[str]:
    """Those of `sessions` with a turn or a delivery still under way."""
    return [row[0] for row in run_rows(_BUSY, [(session,) for session in sessions])]


def _fresh(entries: list[Entry]) -> list[Entry]:
    """Those not known yet, each once, in the order in which they came."""
    by_key: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        by_key.setdefault(entry.key, entry)
    known: set[Row] = set(run_rows(_KNOWN, list(by_key)))
    return [entry for key, entry in by_key.items() if key not in known]


def _target(inbound: Inbound) -> dict[str, object]:
    return {"chat_id": inbound.chat_id, "is_group": inbound.is_group, **inbound.target}


def _message(
    entry: Entry, found: Found, around: dict[tuple[str, str], list[dict[str, str]]]
) -> NewMessage:
    inbound = entry.inbound
    handled = found.handler == "agent"
    # the first message of a chat gets what was overheard there, the next ones nothing
    said = around.pop((entry.scope.channel, inbound.chat_id), []) if around else []
    return NewMessage(
        session=str(found.session),
        channel=entry.scope.channel,
        role="user",
        origin="user",
        text=inbound.text,
        external_id=inbound.external_id,
        sender=inbound.user_id,
        target=_target(inbound),
        context=overheard.context_of(inbound, said),
        disposition="pending" if handled else "handed_over",
    )


def _files(
    entries: list[Entry], ids: list[int | None]
) -> list[tuple[int, dict[str, str | int | None]]]:
    return [
        (
            row,
            {
                "kind": m.kind,
                "mime": m.mime,
                "name": m.name,
                "size": m.size,
                "url": m.handle,
                "state": "waiting" if entry.fetches_media else "",
            },
        )
        for entry, row in zip(entries, ids, strict=True)
        if row is not None
        for m in entry.inbound.media
    ]
