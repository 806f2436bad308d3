"""When planned things are due: tables of clock changes, leap days and month ends; properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.schedules.when import BadTiming, check, next_after

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def times(
    spec: str, zone: str, start: str, count: int, kind: str = "cron", anchor: datetime = ANCHOR
) -> list[str]:
    """The next times as the clock on the wall shows them, with its offset."""
    after, found = utc(start), []
    for _ in range(count):
        coming = next_after(kind, spec, zone, anchor, after)
        if coming is None:
            break
        found.append(coming.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
        after = coming
    return found


TABLE = {
    "every day through spring: a fixed time keeps its place on the wall": (
        "0 9 * * *", BERLIN, "2026-03-28T00:00+01:00",
        ["2026-03-28T09:00+01:00", "2026-03-29T09:00+02:00", "2026-03-30T09:00+02:00"],
    ),
    "every day through autumn": (
        "0 9 * * *", BERLIN, "2026-10-24T12:00+02:00",
        ["2026-10-25T09:00+01:00", "2026-10-26T09:00+01:00"],
    ),
    "a time in the gap comes right behind it, once": (
        "30 2 * * *", BERLIN, "2026-03-28T12:00+01:00",
        ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
    ),
    "two times in the gap are one": (
        "10,40 2 * * *", BERLIN, "2026-03-28T12:00+01:00",
        ["2026-03-29T03:00+02:00", "2026-03-30T02:10+02:00", "2026-03-30T02:40+02:00"],
    ),
    "a time in the fold comes once, the first time": (
        "30 2 * * *", BERLIN, "2026-10-24T12:00+02:00",
        ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
    ),
    "asked in the second of two equal hours": (
        "45 2 * * *", BERLIN, "2026-10-25T02:30+01:00",
        ["2026-10-26T02:45+01:00"],
    ),
    "every hour through spring": (
        "0 * * * *", BERLIN, "2026-03-29T00:30+01:00",
        ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"],
    ),
    "every hour through autumn, both equal ones": (
        "0 * * * *", BERLIN, "2026-10-25T01:30+02:00",
        ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"],
    ),
    "New York, spring": (
        "15 2 * * *", NEW_YORK, "2026-03-07T12:00-05:00",
        ["2026-03-08T03:00-04:00", "2026-03-09T02:15-04:00"],
    ),
    "New York, autumn": (
        "30 1 * * *", NEW_YORK, "2026-10-31T12:00-04:00",
        ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"],
    ),
    "half an hour of change, spring": (
        "10 2 * * *", LORD_HOWE, "2026-10-03T12:00+10:30",
        ["2026-10-04T02:30+11:00", "2026-10-05T02:10+11:00"],
    ),
    "half an hour of change, spring, by wildcard": (
        "*/15 3 * * *", LORD_HOWE, "2026-10-04T00:00+10:30",
        ["2026-10-04T03:00+11:00", "2026-10-04T03:15+11:00"],
    ),
    "half an hour of change, autumn": (
        "45 1 * * *", LORD_HOWE, "2026-04-04T12:00+11:00",
        ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"],
    ),
    "half an hour of change, autumn, by wildcard": (
        "45 * * * *", LORD_HOWE, "2026-04-05T01:00+11:00",
        ["2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30", "2026-04-05T02:45+10:30"],
    ),
    "leap day": (
        "0 9 29 2 *", "UTC", "2026-01-01T00:00+00:00",
        ["2028-02-29T09:00+00:00", "2032-02-29T09:00+00:00"],
    ),
    "leap day over a century that has none": (
        "0 9 29 2 *", "UTC", "2096-03-01T00:00+00:00",
        ["2104-02-29T09:00+00:00"],
    ),
    "the 31st, only where there is one": (
        "0 9 31 * *", BERLIN, "2026-01-31T12:00+01:00",
        ["2026-03-31T09:00+02:00", "2026-05-31T09:00+02:00", "2026-07-31T09:00+02:00"],
    ),
    "the last of each month": (
        "0 9 L * *", "UTC", "2027-12-31T12:00+00:00",
        ["2028-01-31T09:00+00:00", "2028-02-29T09:00+00:00", "2028-03-31T09:00+00:00"],
    ),
    "the last working day": (
        "0 17 LW * *", "UTC", "2026-01-01T00:00+00:00",
        ["2026-01-30T17:00+00:00", "2026-02-27T17:00+00:00"],
    ),
    "mondays": (
        "0 8 * * MON", NEW_YORK, "2026-03-02T09:00-05:00",
        ["2026-03-09T08:00-04:00", "2026-03-16T08:00-04:00"],
    ),
    "the end of a year": (
        "59 23 31 12 *", "UTC", "2026-12-31T23:59+00:00",
        ["2027-12-31T23:59+00:00"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_table(row: tuple[str, str, str, list[str]]) -> None:
    spec, zone, start, expected = row
    assert times(spec, zone, start, len(expected)) == expected


def test_a_zone_changed_in_mid_life_moves_what_comes_next() -> None:
    at_nine = "2026-06-01T09:00+02:00"
    assert times("0 9 * * *", BERLIN, at_nine, 1) == ["2026-06-02T09:00+02:00"]
    # moved west the same evening: the next nine o'clock is New York's
    assert times("0 9 * * *", NEW_YORK, "2026-06-01T20:00+02:00", 1) == ["2026-06-02T09:00-04:00"]
    # moved east after it ran: nine o'clock in Tokyo was before, so it is tomorrow's
    assert times("0 9 * * *", "Asia/Tokyo", at_nine, 1) == ["2026-06-02T09:00+09:00"]


def test_every_counts_from_its_anchor_and_not_from_when_it_fired() -> None:
    anchor = utc("2026-03-01T10:00:07+00:00")
    late = utc("2026-03-01T12:34:56+00:00")
    assert next_after("every", "3600", "UTC", anchor, late) == utc("2026-03-01T13:00:07+00:00")
    assert next_after("every", "3600", "UTC", anchor, anchor) == utc("2026-03-01T11:00:07+00:00")
    before = anchor - timedelta(days=3)
    assert next_after("every", "3600", "UTC", anchor, before) == anchor + timedelta(hours=1)


@pytest.mark.parametrize(
    ("spec", "zone", "moment"),
    [
        ("2030-01-31T09:00", BERLIN, "2030-01-31T08:00+00:00"),
        ("2030-07-31 09:00:30", BERLIN, "2030-07-31T07:00:30+00:00"),
        ("2030-01-31T09:00+05:30", BERLIN, "2030-01-31T03:30+00:00"),
        ("2030-01-31T09:00Z", BERLIN, "2030-01-31T09:00+00:00"),
        ("2026-03-29T02:30", BERLIN, "2026-03-29T01:00+00:00"),
        ("2026-10-25T02:30", BERLIN, "2026-10-25T00:30+00:00"),
    ],
)
def test_a_time_comes_once(spec: str, zone: str, moment: str) -> None:
    due = utc(moment)
    assert next_after("at", spec, zone, ANCHOR, due - timedelta(seconds=1)) == due
    assert next_after("at", spec, zone, ANCHOR, due) is None


@pytest.mark.parametrize(
    ("kind", "spec", "zone"),
    [
        ("cron", "0 9 * *", "UTC"),
        ("cron", "0 0 9 * * *", "UTC"),
        ("cron", "60 9 * * *", "UTC"),
        ("cron", "0 9 30 2 *", "UTC"),
        ("cron", "hello", "UTC"),
        ("cron", "", "UTC"),
        ("cron", "0 9 * * *", "Europe"),
        ("cron", "0 9 * * *", "Mars/Base"),
        ("cron", "0 9 * * *", "../../etc/passwd"),
        ("cron", "0 9 * * *", ""),
        ("every", "59", "UTC"),
        ("every", "-60", "UTC"),
        ("every", "1.5", "UTC"),
        ("every", "9999999999", "UTC"),
        ("every", "٦٠٠", "UTC"),
        ("at", "tomorrow", "UTC"),
        ("at", "1900000000", "UTC"),
        ("at", "2030-02-30T09:00", "UTC"),
        ("at", "2030-01-31", "UTC"),
        ("at", "0001-01-01T00:00+14:00", "UTC"),
        ("at", "9999-12-31T23:59:59-14:00", "UTC"),
        ("at", "9999-12-31T23:59", "Pacific/Kiritimati"),
        ("often", "60", "UTC"),
    ],
)
def test_what_cannot_be_planned_is_refused(kind: str, spec: str, zone: str) -> None:
    with pytest.raises(BadTiming):
        check(kind, spec, zone)


def test_a_shorter_time_can_be_allowed() -> None:
    check("every", "5", "UTC", min_seconds=5)


SPECS = [
    "0 9 * * *", "30 2 * * *", "30 1 * * *", "*/15 * * * *", "0 */2 * * *", "45 1 * * SUN",
    "*/20 2 * * *", "0 9 29 2 *", "59 23 L * *", "0 0 31 * *", "0,30 0-3 * * *", "7 * * * *",
]  # fmt: skip
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, "UTC", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"]
MOMENTS = st.datetimes(datetime(2011, 1, 1), datetime(2040, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


@given(st.sampled_from(SPECS), st.sampled_from(ZONES), MOMENTS)
@settings(max_examples=150, deadline=None)
def test_the_next_is_after_and_nothing_lies_between(spec: str, zone: str, after: datetime) -> None:
    """Asked at any moment before it, the next one is the same: nothing is skipped or doubled."""
    coming = next_after("cron", spec, zone, ANCHOR, after)
    assert coming is not None
    assert coming > after
    for share in (0.1, 0.5, 0.9, 0.999):
        between = after + (coming - after) * share
        assert next_after("cron", spec, zone, ANCHOR, between) == coming
    assert next_after("cron", spec, zone, ANCHOR, coming - timedelta(seconds=1)) == coming


@given(st.integers(60, 10**6), MOMENTS, MOMENTS)
@settings(max_examples=100, deadline=None)
def test_every_never_drifts(seconds: int, anchor: datetime, after: datetime) -> None:
    coming = next_after("every", str(seconds), "UTC", anchor, after)
    assert coming is not None
    assert coming > after
    assert (coming - anchor) % timedelta(seconds=seconds) == timedelta(0)
    assert coming - after <= timedelta(seconds=seconds) or after < anchor


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize("spec", ["*/20 * * * *", "7 * * * *", "*/15 3 * * *", "*/30 0-4 * * *"])
def test_wildcards_follow_the_wall_minute_by_minute(spec: str, zone: str) -> None:
    """Against the plainest reading: look at the clock on the wall once a minute."""
    minutes, hours = spec.split()[:2]
    wanted_minutes = {7} if minutes == "7" else set(range(0, 60, int(minutes[2:])))
    wanted_hours = {"*": range(24), "3": [3], "0-4": range(5)}[hours]
    for day in ("2026-03-28", "2026-10-24", "2026-10-03", "2026-04-04", "2026-03-07", "2026-10-31"):
        start = utc(f"{day}T12:00+00:00")
        expected = [
            moment
            for moment in (start + timedelta(minutes=n) for n in range(1, 1440))
            if (wall := moment.astimezone(ZoneInfo(zone))).minute in wanted_minutes
            and wall.hour in wanted_hours
        ]
        found, after = [], start
        while (coming := next_after("cron", spec, zone, ANCHOR, after)) and coming <= expected[-1]:
            found.append(coming)
            after = coming
        assert found == expected
