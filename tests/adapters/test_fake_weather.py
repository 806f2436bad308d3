"""Bad weather is bad, but nobody is left in doubt for ever."""

from itertools import groupby

from tests.fakes._weather import MOST_UNSURE, UNSURE, Weather


def longest_doubt(fates: list[str]) -> int:
    return max(
        len(list(run)) for unsure, run in groupby(fates, lambda fate: fate in UNSURE) if unsure
    )


def test_a_call_is_not_left_in_doubt_more_than_three_times_in_a_row() -> None:
    weather = Weather(seed=1, share=1.0)
    here, there = [], []
    for _ in range(500):
        here.append(weather.on_call("send 1"))
        there.append(weather.on_call("send 2"))
    assert longest_doubt(here) == longest_doubt(there) == MOST_UNSURE
    assert longest_doubt([fate for both in zip(here, there, strict=True) for fate in both]) > 3
