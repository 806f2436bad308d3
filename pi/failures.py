"""From what can go wrong with a model to what is said about it.

Errors of pydantic-ai that an answer can end with (its `exceptions` module)::

    AgentRunError
    ├── ModelAPIError
    │   ├── ModelHTTPError              a status: 408, 409, 425, 429 and 5xx may pass
    │   ├── ModelQuotaExceededError     nothing left to spend: never
    │   ├── ModelConnectionError        no connection, or it broke: may pass
    │   └── any other                   the stream itself was wrong: may pass
    └── UnexpectedModelBehavior and the rest: no usable answer: never
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pi.wording import mend

if TYPE_CHECKING:
    from pydantic_ai.exceptions import AgentRunError, ModelHTTPError

    from pi.config import Config

MAX_DETAIL = 300
PASSING_STATUS = {408, 409, 425, 429}


class Failed(Exception):
    """The answer did not come. `message` is for people and holds no key.

    `summary` is the message without the words of the model server, which may
    quote what somebody wrote in private: safe to log.
    """

    def __init__(self, summary: str, said: str = "", *, retryable: bool) -> None:
        super().__init__(summary)
        self.summary = summary
        self.message = f"{summary}: {said}" if said else summary
        self.retryable = retryable


def explain(error: AgentRunError, config: Config) -> Failed:
    """What to say about an error of the model, and whether asking again may help."""
    from pydantic_ai import exceptions as errors

    if isinstance(error, errors.ModelQuotaExceededError):
        return Failed("the account at the model server has nothing left to spend", retryable=False)
    if isinstance(error, errors.ModelHTTPError):
        return _by_status(error, config)
    if isinstance(error, errors.ModelTimeoutError | errors.ModelRequestTimeout):
        return Failed(f"the model server at {config.shown_url} took too long", retryable=True)
    if isinstance(error, errors.ModelConnectionError):
        return _unreachable(error.phase, config)
    said = _said_by_server(error, config)
    if isinstance(error, errors.ModelAPIError):
        return Failed("the model server broke off", said, retryable=True)
    return Failed("the model gave no usable answer", said, retryable=False)


def _by_status(error: ModelHTTPError, config: Config) -> Failed:
    status = error.status_code
    said = _said_by_server(error, config)
    if status in (401, 403):  # what it said may quote the key
        return Failed(
            f"the model server refused OPENCLAW_LLM_API_KEY (status {status})", retryable=False
        )
    if status == 404:
        return Failed(
            f"the model server has no model “{config.model}”, or OPENCLAW_LLM_BASE_URL "
            f"({config.shown_url}) is not complete: it often ends in /v1 (status 404)",
            said,
            retryable=False,
        )
    retryable = status >= 500 or status in PASSING_STATUS
    verb = "is busy" if status == 429 else "failed" if retryable else "refused the request"
    return Failed(f"the model server {verb} (status {status})", said, retryable=retryable)


def _unreachable(phase: str | None, config: Config) -> Failed:
    if phase in ("write", "read"):
        return Failed(f"the connection to the model at {config.shown_url} broke", retryable=True)
    return Failed(f"no model server can be reached at {config.shown_url}", retryable=True)


def _said_by_server(error: AgentRunError, config: Config) -> str:
    """What the server said, on one line, short, without the key."""
    text = _said(getattr(error, "body", None)) or error.message
    if config.api_key:
        text = text.replace(config.api_key, "…")
    text = re.sub(r"[\s\x00-\x1f\x7f]+", " ", mend(text)).strip()
    return text if len(text) <= MAX_DETAIL else text[:MAX_DETAIL] + "…"


def _said(body: Any) -> str:
    if isinstance(body, dict):
        return _said(body.get("error") or body.get("message") or body.get("detail"))
    return body if isinstance(body, str) else ""
