"""Albums in groups: the words stand under one picture, and all of them are for us."""

from __future__ import annotations

from typing import Any

from adapters.base import Inbound, Media
from gateway import albums
from gateway.channels import Rules
from gateway.ingest import sift
from gateway.lines import Line
from tests.core.kit import CHANNEL, TestChat, in_group


def part(external_id: str, text: str = "", **changes: Any) -> Inbound:
    """One picture of the album 77."""
    media = [Media("image", external_id)]
    fields = {"addressed": bool(text), "album": "77", "media": media}
    return in_group(external_id, text, **(fields | changes))


def line(**rules: Any) -> Line:
    return Line(CHANNEL, TestChat(), Rules(access="open", **rules))


def heard(made: Line, *items: Inbound) -> list[str]:
    arrival = sift(made, items, None)
    assert all(one.addressed for one in arrival.inbounds)
    return [one.external_id for one in arrival.inbounds]


def test_all_pictures_of_an_album_are_ours_where_one_is() -> None:
    assert heard(line(), part("1", "@bot look"), part("2"), part("3")) == ["1", "2", "3"]
    made = line()
    assert heard(made, part("1", "@bot look")) == ["1"]
    assert heard(made, part("2")) == ["2"]
    assert heard(made, part("3"), in_group("4", "x", addressed=False)) == ["3"]


def test_pictures_that_came_before_the_words_are_ours_too() -> None:
    made = line()
    assert heard(made, part("1"), part("2")) == []
    assert heard(made, part("3", "@bot look"), part("4")) == ["1", "2", "3", "4"]


def test_other_albums_and_other_people_stay_what_they_are() -> None:
    made = line()
    assert heard(made, part("1", "@bot look")) == ["1"]
    assert heard(made, part("2", album="78"), part("3", user="u2"), part("4", chat_id="g2")) == []
    assert heard(made, part("5", is_edit=True)) == []
    assert heard(line(groups="off"), part("1", "@bot look"), part("2")) == []


def test_albums_are_forgotten() -> None:
    now = [0.0]
    made = albums.Albums(lambda: now[0])
    assert made.gather([part("1", "@bot look")])[0].addressed
    for number in range(2 * albums.MAX_ALBUMS):
        made.gather([part("x", album=str(1000 + number))])
    assert len(made._known) == albums.MAX_ALBUMS
    assert not made.gather([part("2")])[0].addressed
    now[0] += albums.KEPT_SECONDS + 1
    made.gather([part("3")])
    assert len(made._known) == 1
