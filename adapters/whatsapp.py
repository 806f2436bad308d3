"""WhatsApp, by the Cloud API of Meta.

1. At developers.facebook.com make an app of type "Business" and add the product
   WhatsApp. Under WhatsApp > API Setup you find the number's id: put it into
   OPENCLAW_WHATSAPP_PHONE_NUMBER_ID.
2. Make a system user with a permanent token (permissions whatsapp_business_messaging
   and whatsapp_business_management): OPENCLAW_WHATSAPP_TOKEN. The app's secret, under
   App settings > Basic, goes into OPENCLAW_WHATSAPP_APP_SECRET.
3. Set OPENCLAW_PUBLIC_URL to the https address of this gateway, and
   OPENCLAW_WHATSAPP_VERIFY_TOKEN to a long random text (`openssl rand -hex 32`).
4. Start the gateway. Under WhatsApp > Configuration enter the address
   https://<your host>/webhooks/whatsapp and that text, and subscribe to "messages".
5. Twenty-four hours after a person's last message WhatsApp takes nothing but
   templates. Name an approved one with a single body parameter in
   OPENCLAW_WHATSAPP_TEMPLATE, or such messages become dead letters.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from adapters._dialect import Dialect, render
from adapters._http import Multipart
from adapters._phone import e164
from adapters._rest import ANSWER_SECONDS, UPLOAD_SECONDS, Rest, decode
from adapters._text import clean, length
from adapters._webhook import check_signature, missing, needs_https
from adapters._whatsapp_content import (
    MAX_BUTTON_TEXT,
    as_buttons,
    as_file,
    as_link,
    as_location,
    as_text,
    uploadable,
)
from adapters._whatsapp_errors import OutsideWindow, translated
from adapters._whatsapp_update import read_webhook
from adapters.base import (
    Adapter,
    Arriving,
    Capabilities,
    File,
    Forbidden,
    Inbound,
    Media,
    Outbound,
    Problem,
    Rate,
    Receipt,
    Refused,
    Reply,
    Request,
    Transient,
    Unsupported,
    Unsure,
    setting,
)

GRAPH = "https://graph.facebook.com"
MEGABYTE = 1024 * 1024
MAX_PARAMETER = 1024

MARKS = Dialect(bold="*", italic="_", strike="~", code="`", fence="```")


@dataclass(frozen=True, slots=True, repr=False)
class WhatsappConfig:
    """Settings of the channel."""

    token: str = setting(help="The system user's permanent access token.", secret=True)
    phone_number_id: str = setting(help="The id of our number (not the number itself).")
    app_secret: str = setting(help="The app's secret: it signs every webhook call.", secret=True)
    verify_token: str = setting(
        help="What Meta shows when it first calls the webhook; any long random text.", secret=True
    )
    api_version: str = setting("v25.0", help="Version of the Graph API.")
    api_url: str = setting(GRAPH, help="Base URL of the Graph API; a test's or a proxy's.")
    template: str = setting(
        help="Name of an approved template with one body parameter, for messages after 24 hours."
    )
    template_language: str = setting("en", help="Language code of that template.")


class WhatsappAdapter(Adapter):
    """One number. Roles: WebhookReceiver, Typist, Acknowledger, MediaSource."""

    name = "whatsapp"
    capabilities = Capabilities(  # limits: developers.facebook.com/docs/whatsapp/cloud-api
        text_limit=4096,
        text_unit="utf16",
        markup="whatsapp",
        media={
            "image": 5 * MEGABYTE,
            "video": 16 * MEGABYTE,
            "audio": 16 * MEGABYTE,
            "voice": 16 * MEGABYTE,
            "animation": 16 * MEGABYTE,
            "sticker": 100 * 1024,
            "file": 100 * MEGABYTE,
        },
        locations=True,
        buttons=3,
        button_text=MAX_BUTTON_TEXT,
        typing_seconds=25.0,
        bot_rate=Rate(80, 80),
        chat_rate=Rate(1 / 6, 45),  # one in six seconds; a burst is borrowed from later
        settle_seconds=30.0,  # its statuses echo our id
    )
    Config = WhatsappConfig

    def __init__(self, config: WhatsappConfig, http: httpx.AsyncBaseTransport) -> None:
        self._config = config
        self._rest = Rest(http, config.token, config.app_secret, config.verify_token)
        self._base = f"{config.api_url.rstrip('/')}/{config.api_version}"
        self._bearer = {"Authorization": f"Bearer {config.token}"}

    async def open(self, webhook_url: str | None) -> None:
        """See that the token is good for our number. The webhook is registered by hand."""
        await self._number()

    async def probe(self) -> str:
        """The number and the name it is verified under."""
        number = await self._number()
        return f"{number.get('display_phone_number', '?')} ({number.get('verified_name', '?')})"

    async def close(self) -> None:
        """Nothing to let go of: the transport is shared."""

    async def _number(self) -> dict[str, Any]:
        path = f"{self._config.phone_number_id}?fields=display_phone_number,verified_name"
        try:
            return await self._call("GET", path)
        except Unsure as failure:
            raise Transient(failure.detail) from None

    # --- sending ------------------------------------------------------------

    async def send(self, outbound: Outbound) -> Receipt:
        """One message. After 24 hours' silence it goes out as the template, if there is one."""
        if outbound.fallback and self._has_template(outbound):
            return await self._send(outbound, self._template(outbound.text))
        try:
            return await self._send(outbound, await self._content(outbound))
        except OutsideWindow as refusal:
            if not self._has_template(outbound):
                raise Refused(refusal.detail) from None
            try:
                return await self._send(outbound, self._template(outbound.text))
            except OutsideWindow:
                raise Refused(refusal.detail) from None

    def _has_template(self, outbound: Outbound) -> bool:
        return bool(self._config.template and outbound.text and outbound.file is None)

    async def _send(self, outbound: Outbound, content: Mapping[str, Any]) -> Receipt:
        message = {
            "messaging_product": "whatsapp",
            **_recipient(outbound),
            "biz_opaque_callback_data": outbound.key,
            **content,
        }
        if reply_to := outbound.target.get("reply_to"):
            message["context"] = {"message_id": reply_to}
        answer = await self._call("POST", f"{self._config.phone_number_id}/messages", data=message)
        match answer:
            case {"messages": [{"id": str(receipt)}, *_]} if receipt:
                return Receipt(receipt)
        raise Unsure("an answer without a message id")

    async def _content(self, outbound: Outbound) -> dict[str, Any]:
        text = clean(outbound.text)
        if outbound.file is not None:
            return await self._file(outbound.file, text)
        if outbound.location is not None and not text:
            return as_location(outbound.location)
        if (place := outbound.location) is not None:  # a place has no caption: both as text
            text = f"{place.name or 'location'}: {place.latitude}, {place.longitude}\n{text}"
        if not outbound.plain:
            text = render(text, MARKS, self.capabilities.text_limit, "utf16")
        return as_buttons(text, outbound.buttons) if outbound.buttons else as_text(text)

    async def _file(self, file: File, caption: str) -> dict[str, Any]:
        """The file is uploaded first; only the message that names it is sent."""
        if (taken := uploadable(file)) is None:
            return as_link(file, caption)
        form = {"messaging_product": "whatsapp", "type": taken.mime}
        path = f"{self._config.phone_number_id}/media"
        try:
            answer = await self._call("POST", path, body=Multipart(form, "file", taken))
        except Unsure as failure:
            raise Transient(failure.detail) from None
        if not isinstance(handle := answer.get("id"), str):
            raise Transient("an upload without an id")
        return as_file(taken, handle, caption)

    def _template(self, text: str) -> dict[str, Any]:
        """The text as the template's one parameter, which may not hold line breaks.

        Raises `Refused` where it does not fit: half a text would count as sent.
        """
        folded = " ".join(clean(text).split())
        if length(folded, "utf16") > MAX_PARAMETER:
            raise Refused(
                "outside the 24-hour window, and longer than the "
                f"{MAX_PARAMETER:,} characters that a template takes"
            )
        body = {"type": "body", "parameters": [{"type": "text", "text": folded}]}
        return {
            "type": "template",
            "template": {
                "name": self._config.template,
                "language": {"code": self._config.template_language},
                "components": [body],
            },
        }

    async def typing(self, chat_id: str, target: Mapping[str, Any]) -> None:
        """Shows "typing…" for 25 seconds; marks what is answered as read."""
        await self._mark(target, {"typing_indicator": {"type": "text"}})

    async def acknowledge(self, inbound: Inbound) -> None:
        """The blue ticks: it was read."""
        await self._mark(inbound.target, {})

    async def _mark(self, target: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        if message := target.get("message_id"):
            read = {"messaging_product": "whatsapp", "status": "read", "message_id": message}
            path = f"{self._config.phone_number_id}/messages"
            await self._call("POST", path, data={**read, **more})

    async def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        upload = "body" in content
        seconds = UPLOAD_SECONDS if upload else ANSWER_SECONDS
        url = f"{self._base}/{path}"
        answer = await self._rest.call(method, url, self._bearer, seconds=seconds, **content)
        if answer.status == 200 and answer.data is not None:
            return answer.data
        raise translated(answer, self._config.token, upload=upload)

    # --- files --------------------------------------------------------------

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """Two steps: Graph says where the file lies for five minutes, then it is read there."""
        try:
            found = await self._call("GET", media.handle)
        except Unsure as failure:
            raise Transient(failure.detail) from None
        url = str(found.get("url", ""))
        if not url.startswith("https://") and _origin(url) != _origin(self._config.api_url):
            raise Refused("Graph names an address that is not https")
        async for piece in self._rest.fetch(url, self._bearer):
            yield piece

    # --- webhook ------------------------------------------------------------

    def handshake(self, request: Request) -> Reply | None:
        """Meta's first call: its challenge back, if it knows the verify token."""
        if request.method != "GET":
            return None
        shown = request.query.get("hub.verify_token", "").encode("utf-8", "surrogatepass")
        ours = self._config.verify_token.encode("utf-8", "surrogatepass")
        if not ours or not hmac.compare_digest(shown, ours):
            raise Forbidden("wrong or missing verify token")
        if request.query.get("hub.mode") != "subscribe":
            raise Forbidden("a first call that does not subscribe")
        return Reply(body=request.query.get("hub.challenge", "").encode())

    def verify(self, request: Request) -> None:
        """The signature over the raw body, with the app's secret."""
        shown = request.headers.get("x-hub-signature-256", "")
        check_signature(shown, "sha256=", self._config.app_secret, request.body)

    def parse(self, request: Request) -> Sequence[Arriving]:
        """Everything in a call, each message and status read by itself."""
        number, template = self._config.phone_number_id, bool(self._config.template)
        found = read_webhook(decode(request.body), number, has_template=template)
        if not found:
            raise Unsupported("nothing for us in it")
        return found

    # --- configuration ------------------------------------------------------

    @classmethod
    def user_id(cls, written: str) -> str:
        """A number in any writing is its digits; a business-scoped id stays what it is."""
        return e164(written).removeprefix("+")

    @classmethod
    def problems(cls, config: WhatsappConfig, public_url: str) -> list[Problem]:
        """Missing settings."""
        hints = {
            "token": "Make a system user's permanent token in the Meta business settings.",
            "phone_number_id": "It stands under WhatsApp > API Setup.",
            "app_secret": "It stands under App settings > Basic.",
            "verify_token": "Choose one, for example what `openssl rand -hex 32` prints.",
        }
        own = config.api_url.rstrip("/") == GRAPH
        return [*missing(cls.name, config, hints), *needs_https(own, public_url)]


def _recipient(outbound: Outbound) -> dict[str, str]:
    """Groups by their id, people by their phone number, or else by their business-scoped id."""
    if outbound.target.get("is_group"):
        return {"recipient_type": "group", "to": outbound.chat_id}
    name = "to" if outbound.chat_id.isdecimal() else "recipient"
    return {"recipient_type": "individual", name: outbound.chat_id}


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc
