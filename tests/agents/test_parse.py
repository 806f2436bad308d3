"""The parsers: the same events however the bytes are cut, and never a look back."""

from __future__ import annotations

import json
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.agents.base import AgentError
from gateway.agents.parse import MAX_DEPTH, Lines, ServerSentEvents, clean, loads
from gateway.agents.rpc import NdjsonReader, TextReader

UNHURRIED = settings(deadline=None)
"""Other work on the machine must not fail a test."""

PIECES = st.sampled_from(
    [
        "data",
        "event",
        "id",
        ":",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "x",
        "data: a\n",
        "ä",
        "🌳",
        "\ufeff",
    ]
)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """`body` in pieces, cut at `places`, empty pieces among them."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def events(*chunks: bytes) -> list[tuple[bytes, bytes]]:
    """All that comes of `chunks`."""
    parser = ServerSentEvents()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def reference(body: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's algorithm (WHATWG HTML 9.2.6), written down word by word."""
    text = body.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found, data, name = [], "", ""
    for line in text.split("\n")[:-1]:
        if line == "":
            if data:
                found.append((name.encode() or b"message", data[:-1].encode()))
            data = name = ""
            continue
        if line.startswith(":"):
            continue
        field, colon, value = line.partition(":")
        if colon and value.startswith(" "):
            value = value[1:]
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
    return found


@UNHURRIED
@given(st.lists(PIECES, max_size=40), st.lists(st.integers(0, 500), max_size=20))
def test_events_are_those_of_the_standard_however_they_are_cut(
    pieces: list[str], places: list[int]
) -> None:
    body = "".join(pieces).encode()
    assert events(*cut(body, places)) == reference(body)
    assert events(*(body[at : at + 1] for at in range(len(body)))) == reference(body)


@UNHURRIED
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=20))
def test_lines_do_not_depend_on_chunks(body: bytes, places: list[int]) -> None:
    whole, pieces = Lines(), Lines()
    expected = whole.feed(body)
    assert [line for chunk in cut(body, places) for line in pieces.feed(chunk)] == expected
    assert whole.rest() == pieces.rest()


@UNHURRIED
@given(
    st.lists(st.dictionaries(st.just("text"), st.text(), min_size=1), max_size=10),
    st.lists(st.integers(0, 2000), max_size=30),
)
def test_ndjson_text_does_not_depend_on_chunks(
    tokens: list[dict[str, str]], places: list[int]
) -> None:
    lines = [json.dumps({"type": "token", **token}, ensure_ascii=False) for token in tokens]
    body = "\n".join([*lines, '{"type": "final", "content": "x"}']).encode("utf-8", "replace")
    reader = NdjsonReader()
    batches = [reader.feed(chunk) for chunk in cut(body, places)]
    batches.append(reader.end())
    text = "".join(getattr(event, "text", "") for batch in batches for event in batch.events)
    assert text == "".join(clean(token["text"]) for token in tokens)
    assert [batch.failure for batch in batches] == [None] * len(batches)
    assert batches[-1].final


@UNHURRIED
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=20))
def test_plain_text_does_not_depend_on_chunks(body: bytes, places: list[int]) -> None:
    def read(chunks: list[bytes]) -> tuple[str, object]:
        reader = TextReader()
        batches = [reader.feed(chunk) for chunk in chunks]
        batches.append(reader.end())
        parts = [event.text for b in batches for event in b.events if hasattr(event, "text")]
        ended = batches[-1].failure or batches[-1].events[-1]
        return "".join(parts), getattr(ended, "code", ended)

    assert read(cut(body, places)) == read([body])


@UNHURRIED
@given(st.binary(max_size=100) | st.text(st.sampled_from('{}[]",:\\ud83d01eE.-ntf'), max_size=40))
def test_json_is_a_value_or_malformed(data: bytes | str) -> None:
    try:
        loads(data.encode() if isinstance(data, str) else data)
    except AgentError as error:
        assert error.code == "malformed"


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
def test_an_answer_is_nested_only_so_deeply(opens: str, closes: str) -> None:
    """What is kept has to be written again, to its session's file for example."""

    def nested(levels: int) -> bytes:
        return (opens * levels + "1" + closes * levels).encode()

    assert loads(nested(MAX_DEPTH))
    with pytest.raises(AgentError, match="nested"):
        loads(nested(MAX_DEPTH + 1))
    assert loads(b"[" + b"[1]," * 1000 + b"2]")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data\n\n", [(b"message", b"")]),
        (b"data:a\ndata: b\n\n", [(b"message", b"a\nb")]),
        (b"event: x\r\ndata: a\r\n\r\n", [(b"x", b"a")]),
        (b"event: x\rdata: a\r\r", [(b"x", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"message", b"a")]),
        (b"event: x\n\ndata: a\n\n", [(b"message", b"a")]),
        (b": note\nid: 7\nretry: 9\ndata:  a\n\n", [(b"message", b" a")]),
        (b"data: cut off\n", []),
    ],
)
def test_server_sent_events(body: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert events(body) == expected


@pytest.mark.parametrize("make", [Lines, ServerSentEvents, NdjsonReader])
def test_byte_by_byte_costs_no_more_for_a_long_line(
    make: type[Lines] | type[ServerSentEvents] | type[NdjsonReader],
) -> None:
    def seconds(size: int) -> float:
        parser = make()
        started = process_time()
        for _ in range(size):
            parser.feed(b"x")
        return process_time() - started

    def least(size: int) -> float:
        return min(seconds(size) for _ in range(3))  # others' work disturbs, and never helps

    seconds(1_000)
    # Going back over the line each time would make the second 64 times as dear.
    assert least(160_000) < 24 * max(least(20_000), 0.002)
