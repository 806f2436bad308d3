"""Files on their way: people's to the agent, the agent's to people, and what is in between."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection

from adapters.base import (
    Capabilities,
    Media,
    Outbound,
    RateLimited,
    Receipt,
    Refused,
    Transient,
)
from gateway.agents.base import Event, Final, Question
from gateway.ledger import operate
from gateway.ledger.files import StartFetches, release_files
from gateway.media.links import Links, path_of
from gateway.media.retention import prune_files
from gateway.media.store import Store
from gateway.models import Agent, Audit, Delivery
from sessions_app.history import History, Wanted
from sessions_app.models import Attachment, Message, Session
from tests.conftest import Clock
from tests.core.house import House
from tests.core.kit import CHANNEL, TestChat, Verbs, inbound
from tests.media.conftest import Web, pieces
from tests.media.test_store import OGG, PNG

pytestmark = pytest.mark.django_db(transaction=True)


class FileChat(TestChat):
    """A platform with files: handle -> bytes, or errors to raise, one a try."""

    capabilities = Capabilities(
        text_limit=200, media={"image": 10_000, "file": 50_000}, locations=True
    )

    def __init__(self) -> None:
        super().__init__(lambda outbound: self.receive(outbound))
        self.files: dict[str, bytes] = {}
        self.errors: list[Exception] = []
        self.fetched: list[str] = []
        self.got: list[tuple[str, bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def receive(self, outbound: Outbound) -> Receipt:
        if outbound.file:
            self.got.append((outbound.file.name, outbound.file.path.read_bytes()))
        return Receipt(f"m{len(self.sent)}")

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        self.fetched.append(media.handle)
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        yield self.files[media.handle]


@pytest.fixture
def chat() -> FileChat:
    return FileChat()


def photo(number: int = 1, text: str = "look", **more: Any) -> Any:
    media = [Media("image", f"F-{number}", "image/jpeg", "cat.jpg", 58)]
    return inbound(f"e{number}", text, media=media, **more)


def last_message(question: Question) -> Any:
    return orjson.loads(question.history[-1])


# --- in -----------------------------------------------------------------------


async def test_the_agent_gets_a_link_once_the_file_is_here(
    agent: Agent, chat: FileChat, store: Store
) -> None:
    chat.files["F-1"] = PNG
    chat.gate.clear()
    async with House(chat=chat, store=store) as house:
        await house.write(photo())
        await asyncio.sleep(0.1)
        assert house.agents.asked == []  # it waits for the file
        chat.gate.set()
        await house.said(1)
        (question,) = house.agents.asked
    message = last_message(question)
    (file,) = message["attachments"]
    assert message["content"] == "look"
    assert (file["kind"], file["mime"], file["size"]) == ("image", "image/png", len(PNG))
    row = await Attachment.objects.aget()
    assert (row.state, row.attempts) == ("stored", 1)
    assert store.find(row.path).read_bytes() == PNG


async def test_other_sessions_do_not_wait(agent: Agent, chat: FileChat, store: Store) -> None:
    chat.gate.clear()
    async with House(chat=chat, store=store) as house:
        await house.write(photo())
        await house.write(inbound("e2", "hello", "u2"))
        assert await house.said(1) == ["fine"]
        assert [q.chat_id for q in house.agents.asked] == ["chat-u2"]


async def test_what_cannot_be_fetched_now_is_tried_again(
    agent: Agent, chat: FileChat, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.media.fetching.RETRY_SECONDS", 0.01)
    chat.files["F-1"] = PNG
    chat.errors = [Transient("503"), RateLimited("slow", 0.05), ValueError("ours")]
    async with House(chat=chat, store=store) as house:
        await house.write(photo())
        await house.said(1)
        assert len(chat.fetched) == 4
        assert "url" in last_message(house.agents.asked[0])["attachments"][0]


@pytest.mark.parametrize(
    ("error", "told"),
    [(Refused("it is gone"), "it is gone"), (RateLimited("no answer", 1000.0), "no answer")],
)
async def test_what_cannot_be_had_is_given_up_and_the_turn_goes_on(
    agent: Agent,
    chat: FileChat,
    store: Store,
    error: Exception,
    told: str,
) -> None:
    chat.errors = [error]
    async with House(chat=chat, store=store) as house:
        await house.write(photo())
        await house.said(1)
        (file,) = last_message(house.agents.asked[0])["attachments"]
    assert file["error"] == told
    assert "url" not in file
    assert (await Attachment.objects.aget()).state == "failed"


async def test_a_file_that_is_too_large_is_not_even_asked_for(
    agent: Agent, chat: FileChat, store: Store
) -> None:
    media = [Media("video", "F-1", "video/mp4", "film.mp4", store.max_bytes + 1)]
    async with House(chat=chat, store=store) as house:
        await house.write(inbound("e1", "", media=media))
        await house.said(1)
    assert chat.fetched == []
    assert "larger" in (await Attachment.objects.aget()).error


async def test_a_file_whose_session_is_gone_meanwhile_is_not_left_behind(
    agent: Agent, chat: FileChat, store: Store
) -> None:
    chat.files["F-1"] = PNG
    chat.gate.clear()
    async with House(chat=chat, store=store) as house:
        await house.write(photo())
        await house.settled(lambda: Attachment.objects.get().attempts == 1)
        await house.read(lambda: Session.objects.all().delete())
        chat.gate.set()
        await house.settled(lambda: house.fetching.wanted() == 8)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_after_a_crash_files_are_fetched_at_once(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(photo(), fetches_media=True)
    claim = StartFetches(lambda channel: channel == CHANNEL)
    (first,) = claim(8)
    assert (first.attempt, first.media.handle) == (1, "F-1")
    assert claim(8) == []
    assert verbs.claim() == []
    release_files()
    (second,) = claim(8)
    assert second.attempt == 2
    assert StartFetches(lambda channel: False)(8) == []


# --- history ------------------------------------------------------------------


def test_links_in_the_history_are_made_anew_each_time(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(photo())
    Attachment.objects.update(state="stored", path="a" * 32 + ".png")
    made: list[str] = []

    def link(path: str, name: str) -> str:
        made.append(path)
        return f"link-{len(made)}"

    history = History(10, link)
    (session,) = Session.objects.all()
    found = []
    for _ in range(2):
        said = history.load([Wanted(session.pk, session.revision, 10_000)])[session.pk]
        (entry,) = said.messages
        found.append(orjson.loads(entry)["attachments"][0]["url"])
    assert found == ["link-1", "link-2"]


# --- out ----------------------------------------------------------------------


def answering(*attachments: dict[str, Any], text: str = "here") -> Any:
    async def say(question: Question) -> AsyncIterator[Event]:
        yield Final(text, attachments=attachments)

    return say


async def test_an_agents_file_goes_out_in_the_platforms_way(
    agent: Agent, chat: FileChat, store: Store, site: Web
) -> None:
    await Agent.objects.aupdate(url=f"{site.origin}/rpc/message")
    site.pages["/files/cat.png"] = PNG
    say = answering({"kind": "image", "url": "/files/cat.png", "name": "the cat.png"})
    async with House(say, chat=chat, store=store) as house:
        await house.write(inbound("e1"))
        assert await house.said(2) == ["here", ""]
    assert chat.got == [("the cat.png", PNG)]
    row = await Attachment.objects.aget()
    assert (row.state, row.kind, row.mime, row.size) == ("stored", "image", "image/png", len(PNG))


async def test_what_the_platform_cannot_carry_is_a_link_that_works(
    agent: Agent, chat: FileChat, store: Store, site: Web
) -> None:
    await Agent.objects.aupdate(url=f"{site.origin}/rpc/message")
    site.pages["/song.ogg"] = OGG + bytes(60_000)
    async with House(answering({"kind": "audio", "url": "/song.ogg"}), chat, store=store) as house:
        await house.write(inbound("e1"))
        (text,) = await house.said(1)
    assert text.startswith("here\n\nsong.ogg: https://example.com/media/")
    path = path_of(text.partition("song.ogg: ")[2])
    assert path is not None
    assert store.find(path).read_bytes() == site.pages["/song.ogg"]


async def test_a_data_url_holds_the_file_itself_and_our_own_link_is_the_file(
    agent: Agent, chat: FileChat, store: Store
) -> None:
    kept = await store.keep(pieces(PNG))
    data = base64.b64encode(OGG).decode()
    say = answering(
        {"kind": "voice", "url": f"data:audio/ogg;base64,{data}", "name": "note.ogg"},
        {"kind": "image", "url": Links("http://127.0.0.1:8000", 60).to(kept.path, "cat.png")},
        {"kind": "file", "url": "data:text/plain,hello%20you"},
    )
    async with House(say, chat=chat, store=store) as house:
        await house.write(inbound("e1"))
        await house.said(4)
    assert [content for _, content in chat.got] == [OGG, PNG, b"hello you"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://169.254.169.254/latest/meta-data", "private network"),
        ("http://127.0.0.1:1/x", "private network"),
        ("file:///etc/passwd", "only http and https"),
        ("data:text/plain", "comma"),
        ("data:text/plain;base64,***", "base64"),
        ("", "no url"),
        ("/missing.png", "404"),
    ],
)
async def test_what_cannot_be_taken_is_said_and_the_rest_goes_on(
    agent: Agent, chat: FileChat, store: Store, site: Web, url: str, told: str
) -> None:
    await Agent.objects.aupdate(url=f"{site.origin}/rpc/message")
    say = answering({"kind": "image", "url": url, "name": "x.png"})
    async with House(say, chat=chat, store=store) as house:
        await house.write(inbound("e1"))
        (text,) = await house.said(1)
    assert text.startswith("here\n\nx.png: (")
    assert told in text
    assert "169.254" not in text
    row = await Attachment.objects.aget()
    assert (row.state, row.path) == ("failed", "")


async def test_places_are_places_and_those_off_the_map_are_not(
    agent: Agent, chat: FileChat, store: Store
) -> None:
    say = answering(
        {"kind": "location", "latitude": 52.5, "longitude": 13.4, "name": "here"},
        {"kind": "location", "latitude": 91, "longitude": 0},
        {"kind": "location", "latitude": float("nan"), "longitude": 0},
        {"kind": "location", "latitude": "52", "longitude": True},
    )
    async with House(say, chat=chat, store=store) as house:
        await house.write(inbound("e1"))
        await house.said(2)
    assert [one.location.name for one in chat.sent if one.location] == ["here"]
    assert chat.sent[0].text.count("not on the map") == 3


async def test_an_answer_has_at_most_ten_files(agent: Agent, chat: FileChat, store: Store) -> None:
    say = answering(*({"kind": "file", "url": f"data:,{n}"} for n in range(12)))
    async with House(say, chat=chat, store=store) as house:
        await house.write(inbound("e1"))
        await house.said(11)
    assert len(chat.got) == 10


async def test_a_file_that_is_gone_when_it_is_sent_is_a_dead_letter(
    agent: Agent, chat: FileChat, store: Store
) -> None:
    store.folder.mkdir(parents=True)
    entry = {"kind": "file", "path": "a" * 32 + ".png", "mime": "", "name": "x", "size": 1}
    async with House(chat=chat, store=store) as house:
        await house.read(
            lambda: Delivery.objects.create(
                channel=CHANNEL, chat_id="chat-u1", text="", extra={"file": entry}
            )
        )
        house.ledger.poke()
        await house.settled(lambda: Delivery.objects.get().state == "failed")
    assert "gone" in (await Delivery.objects.aget()).error_detail


# --- mending and forgetting ---------------------------------------------------


def test_an_operator_has_a_file_fetched_again(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(photo(), fetches_media=True)
    Attachment.objects.update(state="failed", error="gone", attempts=5)
    before = Session.objects.get().revision
    (file,) = Attachment.objects.all()
    assert operate.fetch_files("ann", [file.pk]) == 1
    assert operate.fetch_files("ann", [file.pk]) == 0  # it waits already
    file.refresh_from_db()
    assert (file.state, file.error, file.attempts) == ("waiting", "", 0)
    assert Session.objects.get().revision == before + 1
    assert Audit.objects.get().action == "fetch_file"


async def test_old_files_go_and_so_do_those_that_nobody_knows(
    agent: Agent, store: Store, clock: Clock
) -> None:
    old, new, orphan, fresh = [await store.keep(pieces(bytes([n]) * 9)) for n in range(4)]
    past = clock().timestamp() - 2 * 24 * 3600

    def act() -> tuple[int, list[str]]:
        verbs = Verbs()
        verbs.take_in(photo(1), photo(2))
        for number, (stored, days) in enumerate([(old, 31), (new, 29)]):
            Attachment.objects.filter(handle=f"F-{number + 1}").update(
                state="stored", path=stored.path, created_at=clock() - timedelta(days=days)
            )
        for stored in (old, new, orphan):
            os.utime(store.find(stored.path), (past, past))
        os.utime(store.find(fresh.path), (past + 2 * 24 * 3600,) * 2)
        assert prune_files(store, 30) == 2
        return prune_files(store, 30), list(
            Attachment.objects.order_by("handle").values_list("state", flat=True)
        )

    again, states = await asyncio.get_running_loop().run_in_executor(None, _closing(act))
    assert again == 0
    assert states == ["pruned", "stored"]
    for stored, there in ((old, False), (new, True), (orphan, False), (fresh, True)):
        if there:
            store.find(stored.path)
        else:
            with pytest.raises(LookupError):
                store.find(stored.path)


def _closing(act: Any) -> Any:
    def run() -> Any:
        try:
            return act()
        finally:
            connection.close()

    return run


def test_what_was_pruned_is_told_to_the_agent(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(photo())
    Attachment.objects.update(state="pruned")
    turn = verbs.claim_one()
    (file,) = orjson.loads(turn.history[0])["attachments"]
    assert file["error"] == "deleted after its time"
    assert Message.objects.get().text == "look"
