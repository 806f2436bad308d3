"""What an agent is asked, what it says, and how it can fail.

Errors an agent's answer can end with::

    AgentError(code, detail, retryable)
        unreachable      no connection: refused, no such host, connect time-out;
                         or a 5xx from something that says it is not healthy
        timeout_first    connected, but not a word within the first-token limit
        timeout_between  silence in mid-answer
        timeout_total    still talking at the total limit
        status_4xx       refused by status; not retried, except 408, 425 and 429
        status_5xx       the agent failed before it said anything
        interrupted      the connection closed before `final`
        malformed        not what the protocol says
        too_large        more than the size limit
        reported         the agent sent an `error` event itself

`AgentError.retryable` says whether the same call may be made again, provided
that nothing was heard yet; the turn runner adds that proviso. `retry_after` is
the pause in seconds that the agent asked for, or None.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much an agent may take. Seconds and bytes."""

    connect_seconds: float = 5.0
    first_token_seconds: float = 120.0
    between_tokens_seconds: float = 60.0
    total_seconds: float = 900.0
    max_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where an agent is: a row of `Agent`, without the ORM.

    `protocol` is the name of a module here: "rpc" or "openai". `model` and
    `api_key` matter to "openai" only. `stream` says whether a stream is asked for.
    """

    name: str
    url: str
    protocol: str = "rpc"
    stream: bool = True
    model: str = ""
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """One call of an agent. `history` holds one JSON object per message, as bytes:
    `{"role": "user", "content": "…"}`, with `"attachments": […]` only where there are any.
    The last `waiting` of them are to be answered.

    `gateway` is the way back to us, {"url", "token"}; `person` whom it is talking to,
    {"name", "preferences", "notes"}, without what is empty.
    """

    turn: str
    session: str
    channel: str
    user_id: str
    chat_id: str
    history: Sequence[bytes]
    waiting: int = 1
    origin: str = "user"
    context: Mapping[str, Any] = field(default_factory=dict)
    gateway: Mapping[str, str] = field(default_factory=dict, repr=False)
    person: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Something the operator may watch.

    `kind` is reasoning, tool_call, tool_result or attachment.
    """

    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Final:
    """The whole answer. It wins over the tokens. `buttons` are {"text", "value"}."""

    content: str
    attachments: Sequence[Mapping[str, Any]] = ()
    silent: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    buttons: Sequence[Mapping[str, Any]] = ()


Event = Token | Trace | Final


class AgentError(Exception):
    """The answer did not come. `code` is from the list above; `detail` is for operators."""

    def __init__(
        self, code: str, detail: str, *, retryable: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.retry_after = retry_after


class Agents(Protocol):
    """Something that can be asked. Closing the iterator cancels the call."""

    def ask(self, target: Target, question: Question) -> AsyncIterator[Event]:
        """Events in order, `Final` last and exactly once. Raises `AgentError`."""
