"""Why something waits for a person: each error code in plain words, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """What happened, what it means, what to do: a title and two sentences."""

    title: str
    meaning: str
    remedy: str


DELIVERIES = {
    "refused": Reason(
        "Refused by the platform",
        "The platform will not take this message; trying again unchanged gives the same answer.",
        "Read the detail: often the person blocked the bot or left the chat. "
        "Mend the cause, then retry; or discard.",
    ),
    "unformatted": Reason(
        "Formatting refused",
        "The platform refused the text even without formatting.",
        "Read the text; if it must arrive, answer by hand, then discard.",
    ),
    "expired": Reason(
        "Not sent in time",
        "It waited longer than OPENCLAW_DELIVERY_MAX_AGE, mostly because the channel was down.",
        "See that the channel is up; retry what people still wait for, discard the rest.",
    ),
    "unsure": Reason(
        "May have been sent",
        "The connection broke in mid-send and the platform cannot be asked whether it arrived.",
        "Look into the chat if you can. Discard what arrived; a retry carries the mark "
        "of a repeated message.",
    ),
    "filed": Reason(
        "Still on its way when it was filed",
        "It came back out of a file in which it was not sent yet; whether it arrived is not known.",
        "See the conversation; send it again only if the person still wants it, else discard it.",
    ),
    "unreadable": Reason(
        "Its row cannot be read",
        "What goes with this part (a place, buttons, a file) is not in a shape that can be sent; "
        "it was written by hand or came out of a file.",
        "Discard it, and send what was meant anew; or mend the row's `extra`, then retry.",
    ),
    "channeldown": Reason(
        "Channel closed",
        "The platform does not accept our credentials.",
        "Put the token right and restart the gateway, then retry.",
    ),
}

DELIVERIES["interrupted"] = DELIVERIES["filed"]
"""How rows say it that came out of a file before it had a code of its own."""

TURNS = {
    "filed": Reason(
        "Still under way when it was filed",
        "It came back out of a file in which it was not answered yet.",
        "See the conversation; ask again only if the person still waits for an answer.",
    ),
    "superseded": Reason(
        "A further message took its place",
        "Its person wrote on, and the next answer is to both.",
        "Nothing is to be done.",
    ),
    "handed_over": Reason(
        "Handed over",
        "An operator took the conversation while this was answered.",
        "Answer by hand, or give the conversation back to the agent.",
    ),
    "quarantined": Reason(
        "Cut off again and again",
        "The gateway's process ended five times while this was answered, "
        "so the message is suspected of causing it.",
        "Read the message and the log around these times; retry once the cause is mended, "
        "or discard.",
    ),
    "unreadable": Reason(
        "Its conversation cannot be read",
        "Something that was kept with this message cannot be given to an agent.",
        "The detail says what it is. Notes and preferences are put right with the contact; "
        "then retry, or discard.",
    ),
    "unreachable": Reason(
        "Agent not reachable",
        "No connection to the agent: it does not run, or its address is wrong.",
        "Start the agent or correct its URL under Agents, then retry.",
    ),
    "timeout_first": Reason(
        "Agent said nothing",
        "Connected, but not a word within the limit.",
        "See whether the agent or its model is overloaded, then retry.",
    ),
    "timeout_between": Reason(
        "Agent fell silent",
        "It stopped in mid-answer for longer than the limit.",
        "Look at the agent's log, then retry.",
    ),
    "timeout_total": Reason(
        "Agent never finished",
        "It was still talking at the total limit.",
        "Raise OPENCLAW_AGENT_TOTAL_SECONDS if such answers are meant; then retry.",
    ),
    "status_4xx": Reason(
        "Agent refused the call",
        "It answered with a client error: a wrong key, path or format.",
        "Read the detail; correct URL or key under Agents, then retry.",
    ),
    "status_5xx": Reason(
        "Agent failed",
        "It answered with a server error before it said anything.",
        "Look at the agent's log, then retry.",
    ),
    "interrupted": Reason(
        "Answer cut off",
        "The connection to the agent closed before its answer was complete.",
        "Look at the agent's log: it may have crashed. Then retry.",
    ),
    "malformed": Reason(
        "Answer not understood",
        "The agent's answer does not follow the protocol.",
        "Compare it with docs/agent-protocol.md, mend the agent, then retry.",
    ),
    "too_large": Reason(
        "Answer too large",
        "The agent sent more than OPENCLAW_AGENT_MAX_BYTES.",
        "See what it sends; raise the limit if that is meant, then retry.",
    ),
    "reported": Reason(
        "Agent reported an error",
        "The agent itself said that it cannot answer.",
        "Read the detail, mend what it names, then retry.",
    ),
    "no_agent": Reason(
        "No agent",
        "The agent that should answer was removed.",
        "Add an agent or a rule, then retry.",
    ),
    "internal": Reason(
        "Failed on our side",
        "Something in the gateway itself went wrong.",
        "The log holds the traceback; retry once it is mended.",
    ),
}

SET_ASIDE = Reason(
    "Could not be read",
    "The platform sent something authentic that this version does not understand. "
    "Nobody was answered.",
    "Look at the payload. Update the gateway if it is of a new kind; discard it when looked at.",
)


def of_delivery(code: str) -> Reason:
    """Why a part was not sent."""
    return DELIVERIES.get(code) or _unknown(code, "The send ended without a receipt.")


def of_turn(code: str) -> Reason:
    """Why a message was not answered."""
    return TURNS.get(code) or _unknown(code, "The call of the agent failed.")


def _unknown(code: str, meaning: str) -> Reason:
    title = code.replace("_", " ").capitalize() or "Failed"
    return Reason(title, meaning, "Read the detail; retry when its cause is mended, or discard.")
