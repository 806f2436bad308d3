"""What is learnt lately is kept, and the oldest of it is forgotten."""

from __future__ import annotations

from adapters._recent import Recent


def test_the_oldest_is_forgotten_where_there_is_no_room() -> None:
    recent: Recent[str, int] = Recent(2)
    new = [recent.note(key, value) for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4))]
    assert new == [True, True, False, True]
    assert [recent.get(key) for key in "abc"] == [3, None, 4]
    assert [key in recent for key in "abc"] == [True, False, True]
