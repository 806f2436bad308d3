"""What turns an answer's bytes into events, whatever its form."""

from __future__ import annotations

from abc import ABC, abstractmethod

from gateway.agents.base import AgentError, Event, Final, Token


class Batch:
    """The events of one chunk, then perhaps the failure that ended it.

    Tokens that came together leave as one: that is what they cost the rest of
    the program.
    """

    __slots__ = ("_texts", "events", "failure", "final")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failure: AgentError | None = None
        self.final = False
        self._texts: list[str] = []

    def token(self, text: str) -> None:
        """A piece of text; an empty one is nothing."""
        if text:
            self._texts.append(text)

    def add(self, event: Event) -> None:
        """Any other event. `Final` ends the answer."""
        self.flush()
        self.events.append(event)
        self.final = isinstance(event, Final)

    def flush(self) -> None:
        """Turn the gathered text into a token."""
        if self._texts:
            self.events.append(Token("".join(self._texts)))
            self._texts = []


class Reader(ABC):
    """Reads one answer. `feed` it each chunk, then `end` it, unless a batch was final."""

    def feed(self, chunk: bytes) -> Batch:
        """The events that `chunk` completes."""
        batch = Batch()
        try:
            self._read(batch, chunk)
        except AgentError as error:
            batch.failure = error
        batch.flush()
        return batch

    def end(self, cut: AgentError | None = None) -> Batch:
        """The events due at the end. `cut` is why the answer ended, if that was not cleanly."""
        batch = Batch()
        try:
            self._finish(batch, cut)
        except AgentError as error:
            batch.failure = error
        batch.flush()
        return batch

    @abstractmethod
    def _read(self, batch: Batch, chunk: bytes) -> None:
        """Add to `batch`, or raise `AgentError`."""

    @abstractmethod
    def _finish(self, batch: Batch, cut: AgentError | None) -> None:
        """Add the `Final` that is due, or raise `AgentError`."""


def unfinished(what: str) -> AgentError:
    """The error for a stream that ended without its last event."""
    return AgentError("interrupted", f"the stream ended without {what}", retryable=True)


def spoken(content: str, what: str) -> str:
    """`content`, which must say something: silence is asked for, not left out."""
    if not content.strip():
        raise AgentError("malformed", f"{what} is empty")
    return content
