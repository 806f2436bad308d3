"""Slack, by its Events API and Web API.

1. At api.slack.com/apps make an app "From scratch". Under OAuth & Permissions add
   the bot scopes chat:write, files:read, files:write, im:history, channels:history,
   groups:history, mpim:history, app_mentions:read, reactions:read and, for the names of
   people, users:read; install it, and put the bot token (xoxb-…) into
   OPENCLAW_SLACK_TOKEN.
2. Basic Information shows the signing secret: OPENCLAW_SLACK_SIGNING_SECRET.
3. Set OPENCLAW_PUBLIC_URL and start the gateway. Under Event Subscriptions enter
   https://<your host>/webhooks/slack and subscribe to the bot events message.im,
   message.channels, message.groups, message.mpim, app_mention and reaction_added.
   For buttons enter the same address under Interactivity & Shortcuts.
4. Under App Home allow people to send messages to the app.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from adapters._dialect import render
from adapters._fields import Json, first_text, moment, obj, objects, text, whole
from adapters._http import pieces, redact
from adapters._mrkdwn import MARKS, escape, readable
from adapters._names import Names
from adapters._payload import KINDS, Arriving, File, Inbound, Media, Outbound, Quote, Receipt
from adapters._recent import Recent
from adapters._rest import UPLOAD_SECONDS, Answer, Rest, decode, excerpt, said
from adapters._text import clean, length
from adapters._webhook import check_signature, form_field, missing, needs_https
from adapters.base import (
    Adapter,
    Capabilities,
    ChannelDown,
    Forbidden,
    Problem,
    Rate,
    RateLimited,
    Refused,
    Rejected,
    Reply,
    Request,
    SendError,
    Transient,
    Unreadable,
    Unsupported,
    Unsure,
    setting,
)

SLACK = "https://slack.com/api"
FILE_HOSTS = ("files.slack.com", "slack.com")
WINDOW_SECONDS, SECTION = 300.0, 3000
DOWN = {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"}
DOWN |= {"org_login_required", "team_access_not_granted"}
NOT_PERMITTED = {"missing_scope", "no_permission"}
SCOPES = (
    "chat:write files:read files:write im:history channels:history groups:history "
    "mpim:history app_mentions:read reactions:read users:read"
)
AGAIN = {"internal_error", "fatal_error", "request_timeout", "service_unavailable"}
NAMES = ("display_name", "real_name", "name", "username")
MOST_THREADS = 5000
READ_SUBTYPES = ("", "file_share", "thread_broadcast", "me_message")

now = time.time


@dataclass(frozen=True, slots=True, repr=False)
class SlackConfig:
    """Settings of the channel."""

    token: str = setting(help="The bot's token, xoxb-….", secret=True)
    signing_secret: str = setting(help="It signs every call of Slack's.", secret=True)
    api_url: str = setting(SLACK, help="Base URL of the Web API; a test's or a proxy's.")


class SlackAdapter(Adapter):
    """One app in one workspace. Roles: WebhookReceiver, Editor, MediaSource, Acknowledger."""

    name = "slack"
    capabilities = Capabilities(  # api.slack.com/docs/rate-limits, chat.postMessage, block kit
        text_limit=4000,  # ten times as much is the hard limit: room for escapes
        text_unit="utf16",
        markup="mrkdwn",
        media=dict.fromkeys(KINDS, 900 * 1024 * 1024),
        buttons=25,
        button_text=2000,  # a section holds 3000: room for escapes
        edits=True,
        edit_seconds=1.2,
        chat_rate=Rate(1, 4),
        group_rate=Rate(1, 4),
    )
    Config = SlackConfig

    def __init__(self, config: SlackConfig, http: httpx.AsyncBaseTransport) -> None:
        self._config = config
        self._rest = Rest(http, config.token, config.signing_secret)
        self._base = config.api_url.rstrip("/")
        self._bearer = {"Authorization": f"Bearer {config.token}"}
        self._me = self._granted = ""
        self._names = Names(self._name_of)
        self._threads: Recent[tuple[str, Any], None] = Recent(MOST_THREADS)

    async def open(self, webhook_url: str | None) -> None:
        """Ask who we are: needed to know a mention, and our own messages."""
        self._me = str((await self._ask("auth.test")).get("user_id", ""))

    async def probe(self) -> str:
        """The bot's name and workspace, and the scopes that it lacks."""
        me = await self._ask("auth.test")
        return f"@{me.get('user', '?')} in {me.get('team', '?')}{_lacking(self._granted)}"

    async def close(self) -> None:
        """Nothing to let go of: the transport is shared."""

    async def send(self, outbound: Outbound) -> Receipt:
        """One message; a file in three steps, of which only the last is seen by people."""
        if outbound.file is not None:
            return await self._share(outbound, outbound.file)
        message = {**self._message(outbound), **self._thread(outbound)}
        sent = await self._call("chat.postMessage", message)
        return Receipt(said(sent, "ts"))

    async def edit(self, outbound: Outbound, receipt: str) -> None:
        """The same message with another text."""
        await self._call("chat.update", {**self._message(outbound), "ts": receipt})

    def _thread(self, outbound: Outbound) -> Json:
        """Where it belongs. In that thread we speak from now on."""
        if thread := outbound.target.get("thread"):
            self._threads.note((outbound.chat_id, thread), None)
        return {"thread_ts": thread} if thread else {}

    def _message(self, outbound: Outbound) -> Json:
        words = clean(outbound.text)
        limit = 10 * self.capabilities.text_limit
        shown = escape(words) if outbound.plain else render(words, MARKS, limit, "utf16")
        message: Json = {"channel": outbound.chat_id, "text": shown, "unfurl_links": False}
        if outbound.buttons and length(shown, "utf16") <= SECTION:
            message["blocks"] = _blocks(shown, outbound)
        else:
            lines = [f"• {escape(button.text)}" for button in outbound.buttons]
            message["text"] = "\n".join([shown, *lines])
        return {**message, "mrkdwn": not outbound.plain}

    async def _share(self, outbound: Outbound, file: File) -> Receipt:
        form = {"filename": file.name, "length": str(file.size)}
        place = await self._ask("files.getUploadURLExternal", form)
        url, file_id = said(place, "upload_url"), said(place, "file_id")
        headers = {"Content-Type": file.mime, "Content-Length": str(file.size)}
        try:
            answer = await self._rest.call(
                "POST", url, headers, content=pieces(file.path), seconds=UPLOAD_SECONDS
            )
        except Unsure as failure:  # nobody sees a file that was only uploaded
            raise Transient(failure.detail) from None
        if answer.status != 200:
            raise Transient(f"the upload ended with status {answer.status}")
        shared: Json = {"channel_id": outbound.chat_id, **self._thread(outbound)}
        if outbound.text:
            shared["initial_comment"] = escape(clean(outbound.text))
        files = [{"id": file_id, "title": file.name}]
        await self._call("files.completeUploadExternal", {**shared, "files": files})
        return Receipt(file_id)

    async def _ask(self, method: str, form: Mapping[str, str] | None = None) -> Json:
        """A call that may be made twice, so nothing here is `Unsure`."""
        try:
            return await self._call(method, form=form or {})
        except Unsure as failure:
            raise Transient(failure.detail) from None

    async def _call(
        self, method: str, data: Json | None = None, form: Mapping[str, str] | None = None
    ) -> Json:
        url = f"{self._base}/{method}"
        if form is not None:
            url = str(httpx.URL(url, params=form))
        answer = await self._rest.call("POST", url, self._bearer, data=data)
        if answer.data is not None and answer.data.get("ok") is True:
            self._granted = answer.headers.get("x-oauth-scopes", "")
            return answer.data
        raise self._translated(method, answer)

    def _translated(self, method: str, answer: Answer) -> SendError:
        """Slack says what is wrong by name, mostly with status 200."""
        body = answer.data or {}
        name, scope = body.get("error"), body.get("needed")
        needed = f" (scope {scope})" if isinstance(scope, str) else ""
        detail = redact(f"{name or f'status {answer.status}'}{needed}", self._config.token)
        if answer.status == 429 or name in ("ratelimited", "rate_limited"):
            return RateLimited(detail, answer.retry_after or 30.0)
        if name in NOT_PERMITTED:  # for a file, only that: texts may still go out
            return Refused(detail) if method.startswith("files.") else ChannelDown(detail)
        if name in DOWN or answer.status == 401:
            return ChannelDown(detail)
        if name in AGAIN or answer.status >= 500 or (answer.status == 200 and name is None):
            return Unsure(detail)
        if name is None and answer.status != 413:
            return Transient(detail)
        return Refused(detail)

    def handshake(self, request: Request) -> Reply | None:
        """Slack's first call: its challenge back. It is signed like every other."""
        if b"url_verification" not in request.body:
            return None
        self.verify(request)
        body = decode(request.body)
        if body.get("type") != "url_verification":
            return None
        return Reply(body=str(body.get("challenge", "")).encode("utf-8", "replace"))

    def verify(self, request: Request) -> None:
        """The signature over time and raw body; the time within five minutes of ours."""
        stamp = request.headers.get("x-slack-request-timestamp", "")
        number = stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12
        if not number or abs(now() - int(stamp)) > WINDOW_SECONDS:
            raise Forbidden("timestamp missing, wrong or too old")
        signed = b"v0:" + stamp.encode() + b":" + request.body
        shown = request.headers.get("x-slack-signature", "")
        check_signature(shown, "v0=", self._config.signing_secret, signed)

    def parse(self, request: Request) -> Sequence[Arriving]:
        """The one event of a call, or the presses of a button."""
        payload: Json = {}
        try:
            if request.body.startswith(b"payload="):
                payload = form_field(request.body, "payload")
                if payload.get("type") != "block_actions":
                    raise Unsupported("interaction of another kind")
                return [_press(payload, action) for action in objects(payload, "actions")]
            payload = decode(request.body)
            if payload.get("type") != "event_callback":
                raise Unsupported(f"call of type {clean(str(payload.get('type')))[:40]}")
            return [self._completed(_Event(obj(payload, "event"), self._me).read())]
        except Unreadable as error:
            name = clean(str(payload.get("event_id", "")))[:200]
            return [Rejected(f"event:{name}" if name else "", error.reason, excerpt(payload))]

    def _completed(self, inbound: Inbound) -> Inbound:
        """With what we know beside the event: who that is, and the threads we speak in."""
        name = inbound.sender_name or self._names.of(inbound.user_id)
        ours = (inbound.chat_id, inbound.target.get("thread")) in self._threads
        return replace(inbound, sender_name=name, addressed=inbound.addressed or ours)

    async def acknowledge(self, inbound: Inbound) -> None:
        """Ask who wrote, where the event does not say: their next message carries the name."""
        if inbound.sender_name in ("", self._names.of(inbound.user_id)):
            await self._names.learn(inbound.user_id)

    async def _name_of(self, user: str) -> str:
        person = (await self._ask("users.info", {"user": user})).get("user")
        profile = person.get("profile") if isinstance(person, dict) else None
        return clean(first_text(profile, NAMES) or first_text(person, NAMES))[:255]

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """The file's bytes. The token goes to Slack's own hosts only."""
        parts, own = urlsplit(media.handle), urlsplit(self._base)
        safe = parts.scheme == "https" and parts.hostname in FILE_HOSTS
        if not safe and (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            raise Refused("the file does not lie at Slack")
        async for piece in self._rest.fetch(media.handle, self._bearer):
            yield piece

    @classmethod
    def problems(cls, config: SlackConfig, public_url: str) -> list[Problem]:
        """Missing settings."""
        hints = {
            "token": "Install the app; the token stands under OAuth & Permissions.",
            "signing_secret": "It stands under Basic Information.",
        }
        own = config.api_url.rstrip("/") == SLACK
        return [*missing(cls.name, config, hints), *needs_https(own, public_url)]


class _Event:
    """One event being read. Field names: api.slack.com/events."""

    def __init__(self, event: Json, me: str) -> None:
        self._event, self._me = event, me

    def read(self) -> Inbound:
        """The message in it. Raises `Unsupported` or `Unreadable`."""
        kind = text(self._event, "type")
        if kind == "reaction_added":
            return self._reaction()
        if kind not in ("message", "app_mention"):
            raise Unsupported(f"event of type {clean(kind)[:40]}")
        subtype = text(self._event, "subtype", "")
        if subtype == "message_changed":
            return self._changed()
        if subtype not in READ_SUBTYPES:
            raise Unsupported(f"message of subtype {clean(subtype)[:40]}")
        return self._message(self._event, kind)

    def _message(self, message: Json, kind: str, *, is_edit: bool = False) -> Inbound:
        if message.get("bot_id") or message.get("user") == self._me:
            raise Unsupported("message of a bot")
        channel, stamp = text(self._event, "channel"), text(message, "ts")
        direct = text(self._event, "channel_type", "im" if channel.startswith("D") else "") == "im"
        thread = text(message, "thread_ts", "")
        words, files = text(message, "text", ""), objects(message, "files")
        mention = f"<@{self._me}>" if self._me else "\0"
        ours = message.get("parent_user_id") == self._me != ""
        target: Json = {"thread": thread or stamp} if thread or not direct else {}
        return Inbound(
            external_id=clean(f"{channel}:{stamp}"),
            user_id=clean(text(message, "user")),
            chat_id=clean(channel),
            text=clean(readable(words.removeprefix(mention).strip())),
            sender_name=clean(first_text(message.get("user_profile"), NAMES))[:255],
            sent_at=moment(stamp),
            is_group=not direct,
            addressed=direct or kind == "app_mention" or mention in words or ours,
            is_edit=is_edit,
            target=target,
            media=[_media(file) for file in files if file.get("url_private_download")],
        )

    def _changed(self) -> Inbound:
        """An edit; a link that got its preview changes a message too, but not its text."""
        new, old = obj(self._event, "message"), self._event.get("previous_message")
        if isinstance(old, dict) and old.get("text") == new.get("text"):
            raise Unsupported("the text did not change")
        return self._message(new, "message", is_edit=True)

    def _reaction(self) -> Inbound:
        item, user = obj(self._event, "item"), text(self._event, "user")
        if user == self._me or item.get("type") != "message":
            raise Unsupported("a reaction that is not to a message")
        channel, stamp = text(item, "channel"), text(item, "ts")
        reaction = text(self._event, "reaction")
        return Inbound(
            external_id=clean(f"reaction:{channel}:{stamp}:{user}:{reaction}"),
            user_id=clean(user),
            chat_id=clean(channel),
            text=clean(f"reacted :{reaction}:"),
            is_group=not channel.startswith("D"),
            addressed=False,
            passive=True,
            quote=Quote("", external_id=clean(f"{channel}:{stamp}")),
        )


def _press(payload: Json, action: Json) -> Inbound:
    """A button was pressed: what it stands for is what the person says."""
    channel, stamp = text(obj(payload, "channel"), "id"), text(action, "action_ts", "")
    message = payload.get("message")
    thread = text(message, "thread_ts", "") if isinstance(message, dict) else ""
    user = text(obj(payload, "user"), "id")
    return Inbound(
        external_id=clean(f"press:{channel}:{user}:{stamp}"),
        user_id=clean(user),
        chat_id=clean(channel),
        text=clean(text(action, "value")),
        sender_name=clean(first_text(payload.get("user"), NAMES))[:255],
        is_group=not channel.startswith("D"),
        by_hand=True,
        target={"thread": thread} if thread else {},
    )


def _media(file: Json) -> Media:
    mime = text(file, "mimetype", "")
    kind = mime.partition("/")[0]
    return Media(
        kind if kind in KINDS else "file",
        clean(text(file, "url_private_download")),
        clean(mime),
        clean(text(file, "name", "")),
        whole(file, "size"),
    )


def _lacking(granted: str) -> str:
    """What the token may not do, by the scopes that Slack says it has; empty if it says none."""
    have = granted.replace(" ", "").split(",")
    lacking = ", ".join(scope for scope in SCOPES.split() if scope not in have)
    return f", without the scopes {lacking}" if granted and lacking else ""


def _blocks(shown: str, outbound: Outbound) -> list[Json]:
    elements = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": one.text[:75]},
            "action_id": f"button-{number}",
            "value": one.value[:2000],
        }
        for number, one in enumerate(outbound.buttons)
    ]
    section = {"type": "section", "text": {"type": "mrkdwn", "text": shown}}
    return [section, {"type": "actions", "elements": elements}]
