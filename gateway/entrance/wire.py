"""What goes over the wire: OpenAI's shapes for answers, chunks, models and errors.

Fields as in OpenAI's API reference: "The chat completion object", "The chat completion
chunk object", "Models", "Error codes".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.base import Reply
from sessions_app import clock

DONE = b"data: [DONE]\n\n"
STILL_HERE = b": still waiting\n\n"


class Refusal(Exception):
    """What is answered instead, as an OpenAI error object.

    `asked`: the question was kept, so that asking again would ask twice.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        asked: bool = False,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        own = ((b"x-should-retry", b"false"),) if asked else ()
        self.headers = (*headers, *own)

    @property
    def body(self) -> bytes:
        """The error object."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        fields = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return orjson.dumps({"error": fields})

    @property
    def reply(self) -> Reply:
        """The whole response."""
        return Reply(self.status, self.body, "application/json")

    @property
    def event(self) -> bytes:
        """The same where a stream has begun."""
        return b"data: %b\n\n" % self.body


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer on its way out. `id` and `model` are the same in all its chunks."""

    id: str
    model: str
    created: int

    def whole(self, text: str, usage: Mapping[str, Any]) -> Reply:
        """All of it in one object."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        counts = counted(usage)
        fields = self._fields("chat.completion") | {"choices": [choice]}
        return Reply(200, _packed(fields | ({"usage": counts} if counts else {})), JSON)

    def first(self) -> bytes:
        """The chunk that says whose words follow."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def piece(self, text: str) -> bytes:
        """More of the text."""
        return self._chunk({"content": text}, None)

    def last(self) -> bytes:
        """The chunk that says that this was all."""
        return self._chunk({}, "stop")

    def usage(self, usage: Mapping[str, Any]) -> bytes:
        """The chunk with the count of tokens, where that was asked for."""
        fields = self._fields("chat.completion.chunk")
        return _event(fields | {"choices": [], "usage": counted(usage)})

    def _chunk(self, delta: Mapping[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event(self._fields("chat.completion.chunk") | {"choices": [choice]})

    def _fields(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


JSON = "application/json"


def completion(external_id: str, model: str) -> Completion:
    """A new answer. Its id follows from the question's, so that a repeat has the same."""
    return Completion(f"chatcmpl-{external_id[:24]}", model, int(clock.now().timestamp()))


def model(name: str) -> dict[str, Any]:
    """One entry of the list of models."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "openclaw"}


def counted(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """A turn's usage in OpenAI's words; None where the agent told nothing."""
    asked = _count(usage, "input_tokens", "prompt_tokens")
    said = _count(usage, "output_tokens", "completion_tokens")
    if asked is None and said is None:
        return None
    asked, said = asked or 0, said or 0
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _event(fields: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % _packed(fields)


def _packed(fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps(fields)
