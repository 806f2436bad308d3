"""Token buckets: how fast a bot and a chat may send, on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Capabilities, Rate
from gateway.ratelimit import RateLimiter


class Watch:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


def limiter(watch: Watch, unlimited: bool = False, **rates: Rate) -> RateLimiter:
    """A limiter for the channel x with these rates."""
    made = RateLimiter(watch)
    made.add_channel("x", Capabilities(text_limit=1, **rates), unlimited)
    return made


def test_a_bot_may_send_its_burst_and_then_at_its_pace(watch: Watch) -> None:
    limits = limiter(watch, bot_rate=Rate(2.0, 3))
    assert [limits.admit("x", f"c{n}", False) for n in range(4)] == [True, True, True, False]
    assert limits.open_channels() == []
    assert limits.next_permit() == pytest.approx(0.5)
    watch.seconds += 0.49
    assert limits.open_channels() == []
    watch.seconds += 0.01
    assert limits.open_channels() == ["x"]
    assert limits.admit("x", "c", False)
    assert not limits.admit("x", "c", False)


def test_a_wait_for_the_whole_bot_holds_its_channel_and_no_other(watch: Watch) -> None:
    for unlimited in (False, True):
        limits = limiter(watch, unlimited, bot_rate=Rate(2.0, 3))
        limits.add_channel("y", Capabilities(text_limit=1), unlimited=False)
        limits.hold_bot("x", 3.0)
        limits.hold_bot("x", 1.0)  # an earlier word of the same wait
        assert limits.open_channels() == ["y"]
        assert limits.next_permit() == pytest.approx(3.0)
        watch.seconds += 2.9
        assert limits.open_channels() == ["y"]
        watch.seconds += 0.2
        assert limits.next_permit() == 0.0
        assert sorted(limits.open_channels()) == ["x", "y"]
        assert limits.next_permit() is None


def test_each_chat_has_its_own_bucket_and_groups_another_rate(watch: Watch) -> None:
    limits = limiter(watch, chat_rate=Rate(1.0, 1), group_rate=Rate(0.25, 1))
    assert limits.admit("x", "a", False)
    assert limits.admit("x", "g", True)
    assert not limits.admit("x", "a", False)
    assert limits.admit("x", "b", False)
    assert sorted(limits.held_lanes()) == [("x", "a"), ("x", "b"), ("x", "g")]
    watch.seconds += 1
    assert limits.held_lanes() == [("x", "g")]
    assert not limits.admit("x", "g", True)
    watch.seconds += 3
    assert limits.held_lanes() == []
    assert limits.admit("x", "g", True)


def test_a_refused_permit_costs_nothing(watch: Watch) -> None:
    limits = limiter(watch, bot_rate=Rate(1.0, 2), chat_rate=Rate(0.1, 1))
    assert limits.admit("x", "a", False)
    assert not limits.admit("x", "a", False)  # the chat's bucket; the bot's is not touched
    assert limits.admit("x", "b", False)
    assert not limits.admit("x", "c", False)  # the bot's; the chat's is not touched
    watch.seconds += 1
    assert limits.admit("x", "c", False)


def test_unlimited_means_it(watch: Watch) -> None:
    limits = limiter(watch, unlimited=True, bot_rate=Rate(1.0, 1), chat_rate=Rate(1.0, 1))
    assert all(limits.admit("x", "a", False) for _ in range(1000))
    assert (limits.open_channels(), limits.next_permit()) == (["x"], None)


def test_a_pause_the_platform_asked_for_is_kept_to_the_letter(watch: Watch) -> None:
    limits = limiter(watch)
    limits.hold("x", "a", 3.0)
    assert limits.held_lanes() == [("x", "a")]
    assert limits.next_permit() == pytest.approx(3.0)
    watch.seconds += 2.999
    assert limits.held_lanes() == [("x", "a")]
    watch.seconds += 0.001
    limits.open_channels()
    assert limits.held_lanes() == []
    assert limits.next_permit() is None


def test_a_pause_holds_also_where_nothing_else_is_limited(watch: Watch) -> None:
    limits = limiter(watch, unlimited=True)
    limits.hold("x", "a", 3.0)
    assert limits.held_lanes() == [("x", "a")]


def test_a_channel_that_is_down_is_closed_until_it_is_back(watch: Watch) -> None:
    limits = limiter(watch)
    limits.remove_channel("x")
    assert limits.open_channels() == []
    limits.add_channel("x", Capabilities(text_limit=1), False)
    assert limits.open_channels() == ["x"]


def test_nothing_of_an_unknown_channel_is_let_through(watch: Watch) -> None:
    assert not limiter(watch).admit("y", "a", False)


def test_what_a_claim_left_behind_and_may_go_by_now_is_not_forgotten(watch: Watch) -> None:
    """A lost wake-up: the bucket fills between the claim that found it empty and the question
    when to come back."""
    limits = limiter(watch, chat_rate=Rate(20.0, 1))
    limits.admit("x", "a", False)
    limits.hold("x", "b", 3600.0)
    limits.open_channels()
    assert sorted(limits.held_lanes()) == [("x", "a"), ("x", "b")]
    watch.seconds += 0.06
    assert limits.next_permit() == 0.0
    limits.open_channels()
    limits.held_lanes()
    assert limits.next_permit() == pytest.approx(3600 - 0.06)


def test_full_buckets_are_forgotten(watch: Watch) -> None:
    """OC 91588: bounded everything."""
    limits = limiter(watch, chat_rate=Rate(1.0, 1))
    for number in range(5000):
        limits.admit("x", f"c{number}", False)
        watch.seconds += 0.001
    watch.seconds += 1.1
    limits.held_lanes()
    assert limits._chats == {}


@given(
    st.floats(0.1, 50),
    st.integers(1, 30),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_more_than_burst_and_pace_in_any_span(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    watch = Watch()
    limits = limiter(watch, bot_rate=Rate(per_second, burst))
    sent: list[float] = []
    for pause in pauses:
        watch.seconds += pause
        while "x" in limits.open_channels() and limits.admit("x", "a", False):
            sent.append(watch.seconds)
    for first, start in enumerate(sent):
        for last in range(first, len(sent)):
            allowed = burst + (sent[last] - start) * per_second
            assert last - first + 1 <= allowed + 1e-6
