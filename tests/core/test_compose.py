"""A reply as each kind of channel takes it: parts, files, places, buttons, or text instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._text import length
from adapters.base import KINDS, Capabilities
from gateway.compose import CHOOSE, Composer
from gateway.ledger.records import Part

MARK = "(again)"
RICH = Capabilities(text_limit=200, media={"image": 1000, "file": 5000}, locations=True, buttons=3)
POOR = Capabilities(text_limit=200)
IMAGE = {
    "kind": "image",
    "path": "ab/cd.png",
    "mime": "image/png",
    "name": "cat.png",
    "size": 900,
    "url": "http://127.0.0.1:9000/cat.png",
}
PLACE = {"kind": "location", "latitude": 52.5, "longitude": 13.4, "name": "here"}


def composer(facts: Capabilities | None) -> Composer:
    return Composer(lambda name: facts, MARK, lambda entry: f"https://example.com/{entry['name']}")


def answer(facts: Capabilities | None, text: str = "look", **more: Any) -> list[Part]:
    return composer(facts).answer("c", text, **more)


def test_a_file_goes_out_in_the_platforms_way() -> None:
    text, file = answer(RICH, attachments=[IMAGE])
    assert text == Part("look")
    assert file.text == ""
    assert file.extra == {
        "file": {
            "path": "ab/cd.png",
            "mime": "image/png",
            "name": "cat.png",
            "size": 900,
            "kind": "image",
        }
    }


@pytest.mark.parametrize("change", [{"kind": "video"}, {"size": 4000}])
def test_a_kind_the_platform_lacks_or_finds_too_large_goes_as_a_file(change: Any) -> None:
    _, file = answer(RICH, attachments=[IMAGE | change])
    assert file.extra["file"]["kind"] == "file"


@pytest.mark.parametrize(("facts", "change"), [(POOR, {}), (RICH, {"size": 6000}), (None, {})])
def test_what_cannot_be_sent_is_a_link_in_the_text(facts: Any, change: Any) -> None:
    (text,) = answer(facts, attachments=[IMAGE | change])
    assert text.text == "look\n\ncat.png: https://example.com/cat.png"


def test_what_was_not_stored_is_the_agents_own_link_or_says_why() -> None:
    far = {"kind": "file", "name": "a.txt", "url": "https://example.com/a.txt", "error": "too slow"}
    gone = {"kind": "file", "name": "b.txt", "url": "data:nonsense", "error": "not readable"}
    (text,) = answer(RICH, attachments=[far, gone, {"kind": "file", "url": ""}])
    assert text.text == "look\n\na.txt: https://example.com/a.txt\nb.txt: (not readable)"


def test_a_place_is_a_place_or_its_coordinates() -> None:
    assert answer(RICH, attachments=[PLACE])[1].extra == {
        "location": {"latitude": 52.5, "longitude": 13.4, "name": "here"}
    }
    assert answer(POOR, attachments=[PLACE]) == [Part("look\n\nhere: 52.5, 13.4")]


def test_buttons_stand_under_the_last_text_or_are_lines_of_it() -> None:
    buttons = [{"text": "Yes", "value": "y"}, {"text": "No"}, {"text": " "}]
    offered = [{"text": "Yes", "value": "y"}, {"text": "No", "value": "No"}]
    assert answer(RICH, buttons=buttons) == [Part("look", {"buttons": offered})]
    assert answer(POOR, buttons=buttons) == [Part("look\n\n• Yes\n• No")]
    many = [{"text": str(number)} for number in range(4)]
    assert answer(RICH, buttons=many)[0].text.endswith("• 3")


def test_a_value_of_which_nothing_is_left_is_the_text() -> None:
    offered = {"buttons": [{"text": "Yes", "value": "Yes"}]}
    assert answer(RICH, buttons=[{"text": "Yes", "value": "\0"}]) == [Part("look", offered)]


def test_buttons_without_a_text_get_one() -> None:
    offered = {"buttons": [{"text": "Yes", "value": "y"}]}
    buttons = [{"text": "Yes", "value": "y"}]
    assert answer(RICH, "", buttons=buttons) == [Part(CHOOSE, offered)]
    file, last = answer(RICH, "", attachments=[IMAGE], buttons=buttons)
    assert ("file" in file.extra, last) == (True, Part(CHOOSE, offered))
    assert answer(POOR, "", buttons=buttons) == [Part("• Yes")]
    assert answer(RICH, "", buttons=[{"text": " "}]) == []


def test_a_last_part_too_long_for_buttons_is_split_so_that_none_is_lost() -> None:
    facts = Capabilities(text_limit=200, text_unit="utf16", buttons=3, button_text=50)
    text = " ".join(f"wörd-{number:03}😀" for number in range(40))
    parts = answer(facts, text, buttons=[{"text": "Yes"}])
    assert [bool(part.extra) for part in parts] == [False] * (len(parts) - 1) + [True]
    assert length(parts[-1].text, "utf16") <= 50 - len(MARK) - 1
    assert " ".join(part.text for part in parts) == text
    assert len(answer(facts, "short", buttons=[{"text": "Yes"}])) == 1


def test_nothing_to_say_has_no_parts() -> None:
    assert answer(RICH, "") == []
    assert answer(None, "") == []


@given(
    text=st.text(max_size=700),
    files=st.lists(
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(KINDS),
                "name": st.text(max_size=60),
                "size": st.integers(0, 9000),
                "path": st.sampled_from(["", "ab/cd"]),
                "mime": st.just("x/y"),
                "url": st.just("https://example.com/x"),
            }
        ),
        max_size=5,
    ),
)
def test_every_part_leaves_room_for_the_mark_and_every_file_is_somewhere(
    text: str, files: list[dict[str, Any]]
) -> None:
    parts = answer(RICH, text, attachments=files)
    assert all(length(part.text, "codepoints") <= 200 - len(MARK) - 1 for part in parts)
    sent = sum("file" in part.extra for part in parts)
    linked = "".join(part.text for part in parts).count("https://example.com/")
    assert sent + linked >= len(files) or "https://example.com/" in text
