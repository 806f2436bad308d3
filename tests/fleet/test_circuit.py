"""The circuit: turns of an agent that does not answer wait, and waiting is no failure."""

from __future__ import annotations

import pytest

from gateway.checkups import check_agents
from gateway.console import waiting
from gateway.ledger.circuit import Circuit, CircuitLimits, health_of, note_check
from gateway.ledger.claims import CROWD, StartTurns
from gateway.ledger.patience import tell_waiting
from gateway.ledger.records import ClaimedTurn, FinishedTurn
from gateway.ledger.turns import Ended, FinishTurns
from gateway.models import Agent, AgentHealth, Delivery, Turn
from sessions_app import clock as app_clock
from sessions_app.models import Message
from tests.conftest import Clock
from tests.core.kit import OWNER, Verbs, dispositions, history_of, inbound, texts
from tests.fakes.agent import FakeAgent

LIMITS = CircuitLimits(failures=5, seconds=30.0)


class Wired(Verbs):
    """The verbs with a circuit."""

    def __init__(self, owner: str = OWNER) -> None:
        super().__init__(owner)
        self.circuit = Circuit(LIMITS)
        self.start_turns = StartTurns(owner, self.route, self.history, self.circuit)
        self.finish_turns = FinishTurns(owner, self.sessions, self.circuit)

    def fail(self, turn: ClaimedTurn, code: str = "unreachable", state: str = "failed") -> Ended:
        return self.finish_turns([FinishedTurn(turn, state, error_code=code, error_detail="no")])[0]

    def open_it(self, code: str = "unreachable") -> None:
        """Five sessions fail, one after the other."""
        for number in range(5):
            self.take_in(inbound(f"open{number}", user=f"o{number}"))
            self.fail(self.claim()[0], code)


@pytest.fixture
def wired(agent: Agent, clock: Clock) -> Wired:
    return Wired()


def state() -> str:
    return AgentHealth.objects.get().state


def test_calls_that_find_nobody_open_it_and_turns_wait(wired: Wired, clock: Clock) -> None:
    wired.open_it()
    assert state() == "open"
    wired.take_in(inbound("1", "a"))
    assert wired.claim() == []
    clock.advance(29)
    assert wired.claim() == []
    assert dispositions()["a"] == "pending"
    assert Turn.objects.get(session__contact__user_id="u1").attempts == 0


def test_the_turn_that_finds_it_open_waits_and_is_not_counted(wired: Wired, clock: Clock) -> None:
    wired.take_in(inbound("1", "a"))
    for _ in range(4):
        assert wired.fail(wired.claim_one(), state="queued").state == "queued"
    turn = wired.claim_one()
    ended = wired.fail(turn, state="failed")  # its last try, and the one that opens the circuit
    assert (ended.won, ended.state) == (True, "queued")
    assert dispositions() == {"a": "pending"}
    row = Turn.objects.get()
    assert (row.state, row.attempts) == ("queued", turn.attempt - 1)
    for _ in range(20):  # however long it is away
        clock.advance(400)
        assert wired.fail(wired.claim_one()).state == "queued"
    assert Turn.objects.get().attempts == turn.attempt - 1
    clock.advance(400)
    assert wired.answer(wired.claim_one()).won
    assert dispositions() == {"a": "answered"}
    assert not Delivery.objects.filter(text="").exists()


def test_one_turn_tries_it_and_success_frees_all(wired: Wired, clock: Clock) -> None:
    wired.open_it()
    for user in ("u1", "u2", "u3"):
        wired.take_in(inbound(user, user=user))
    clock.advance(31)
    trial = wired.claim_one()
    assert state() == "half_open"
    assert wired.claim() == []
    wired.answer(trial)
    assert state() == "closed"
    assert AgentHealth.objects.get().failures == 0
    assert len(wired.claim()) == 3  # all that waited


def test_success_frees_a_crowd_at_once(wired: Wired, clock: Clock) -> None:
    """Too many to be looked at each time; still nobody waits for the next long look."""
    wired.start_turns._monotonic = lambda: 100.0
    wired.open_it()
    for number in range(CROWD + 5):
        wired.take_in(inbound(f"c{number}", user=f"c{number}"))
    clock.advance(31)
    trial = wired.claim_one()
    assert wired.claim() == []
    wired.answer(trial)
    assert len(wired.claim(10)) == 10


def test_a_trial_that_fails_doubles_the_pause_up_to_a_bound(wired: Wired, clock: Clock) -> None:
    wired.open_it()
    wired.take_in(inbound("1"))
    for pause in (30, 60, 120, 240, 300, 300):
        clock.advance(pause - 1)
        assert wired.claim() == []
        clock.advance(1)
        wired.fail(wired.claim_one())
        assert state() == "open"


def test_a_trial_whose_end_never_comes_is_followed_by_another(wired: Wired, clock: Clock) -> None:
    wired.open_it()
    wired.take_in(inbound("1"))
    clock.advance(30)
    wired.claim_one()
    clock.advance(29)
    assert wired.claim() == []
    clock.advance(1)
    assert len(wired.claim()) == 1


def test_one_poisonous_message_closes_it_for_nobody_else(wired: Wired) -> None:
    wired.take_in(inbound("1", "poison"))
    for _ in range(20):
        wired.fail(wired.claim_one(), "status_5xx", "queued")
    assert state() == "closed"
    wired.take_in(inbound("2", user="u2"))
    assert len(wired.claim()) == 2


@pytest.mark.parametrize("code", ["status_5xx", "timeout_first", "interrupted"])
def test_the_same_from_three_sessions_opens_it(wired: Wired, code: str) -> None:
    for number in range(3):
        wired.take_in(inbound(str(number), user=f"u{number}"))
    for turn in (*wired.claim(), *wired.claim()):
        wired.fail(turn, code, "queued")
    for turn in wired.claim():
        wired.fail(turn, code, "queued")
    assert state() == "open"


@pytest.mark.parametrize("code", ["status_5xx", "timeout_first", "interrupted"])
def test_what_waits_never_fails_however_it_was_opened(
    wired: Wired, clock: Clock, code: str
) -> None:
    wired.open_it(code)
    assert state() == "open"
    for number in range(4):
        wired.take_in(inbound(f"w{number}", f"waiting {number}", user=f"w{number}"))
    for _ in range(30):
        clock.advance(301)
        assert wired.fail(wired.claim_one(), code).state == "queued"  # as on its last try
    waiting = {text: how for text, how in dispositions().items() if text.startswith("waiting")}
    assert set(waiting.values()) == {"pending"}
    assert set(Turn.objects.exclude(state="failed").values_list("attempts", flat=True)) <= {0, 1}
    assert not Delivery.objects.exists()
    clock.advance(301)
    wired.answer(wired.claim_one())
    for turn in wired.claim():
        wired.answer(turn)
    assert set(dispositions().values()) <= {"answered", "failed"}
    assert Turn.objects.filter(state="queued").count() == 0


def test_an_answer_that_broke_off_is_a_sign_of_life(wired: Wired) -> None:
    wired.take_in(inbound("1"))
    for _ in range(4):
        wired.fail(wired.claim_one(), state="queued")
    cut = FinishedTurn(wired.claim_one(), "failed", error_code="interrupted", partial="half an")
    wired.finish_turns([cut])
    assert AgentHealth.objects.get().failures == 0


@pytest.mark.parametrize("code", ["reported", "status_4xx", "timeout_between", "malformed"])
def test_any_sign_of_life_ends_the_row(wired: Wired, code: str) -> None:
    wired.take_in(inbound("1"))
    for _ in range(4):
        wired.fail(wired.claim_one(), state="queued")
    wired.take_in(inbound("2", user="u2"))
    (other,) = [turn for turn in wired.claim() if turn.user_id == "u2"]
    wired.fail(other, code)
    row = AgentHealth.objects.get()
    assert (row.state, row.failures) == ("closed", 0)


def test_where_sessions_have_their_own_programs_one_of_them_opens_nothing(wired: Wired) -> None:
    wired.circuit._apart = lambda agent: True
    wired.take_in(inbound("1"))
    for _ in range(20):
        wired.fail(wired.claim_one(), state="queued")
    assert state() == "closed"


def test_other_agents_go_on_and_are_not_hidden(wired: Wired) -> None:
    other = Agent.objects.create(name="two", url="http://127.0.0.1:2/")
    wired.open_it()
    for number in range(20):
        wired.take_in(inbound(f"w{number}", user=f"w{number}"))
    wired.start_turns._route = lambda channel, user, chat: other.pk if user == "v" else 1
    wired.take_in(inbound("v", user="v"))
    (turn,) = wired.start_turns(5)
    assert (turn.user_id, turn.agent) == ("v", other.pk)


def test_it_outlives_a_restart(wired: Wired, clock: Clock) -> None:
    wired.open_it()
    wired.take_in(inbound("1"))
    after = Wired("main/2")
    assert after.claim() == []
    clock.advance(31)
    assert len(after.claim()) == 1


def test_each_waiting_turn_gets_one_word(wired: Wired) -> None:
    wired.open_it()
    Turn.objects.all().delete()
    wired.take_in(inbound("1", "a"), inbound("2", "b", user="u2"))
    now = app_clock.now()

    def tell(text: str) -> int:
        return len(tell_waiting(wired.circuit, wired.route, wired.sessions, text, now))

    assert tell("") == 0
    assert tell("later") == 2
    wired.take_in(inbound("3", "more"))
    assert tell("later") == 0
    assert sorted(Delivery.objects.values_list("chat_id", "text")) == [
        ("chat-u1", "later"),
        ("chat-u2", "later"),
    ]


@pytest.mark.parametrize("more", [False, True], ids=["alone", "with more"])
def test_that_word_stands_in_the_conversation_and_the_answer_behind_it(
    wired: Wired, clock: Clock, more: bool
) -> None:
    """On a page of ours a conversation is all that people see; the agent is told nothing of it."""
    wired.open_it()
    Turn.objects.all().delete()
    Message.objects.all().delete()
    wired.take_in(inbound("1", "a"))
    ((session, message),) = tell_waiting(
        wired.circuit, wired.route, wired.sessions, "later", clock()
    )
    assert Delivery.objects.get().message_id == message
    assert Message.objects.get(pk=message).session_id == session
    if more:
        wired.take_in(inbound("2", "b"))
    clock.advance(31)
    turn = wired.claim_one()
    asked = ["a", "b"] if more else ["a"]
    assert [content for _, content in history_of(turn)] == asked
    wired.answer(turn, "now")
    assert texts() == ["a", "later", *asked[1:], "now"]


def test_that_word_finds_its_place_behind_the_notice_of_a_failure(
    wired: Wired, clock: Clock
) -> None:
    """A turn that failed and is asked again while its agent is away."""
    wired.open_it()
    Turn.objects.all().delete()
    Message.objects.all().delete()
    wired.take_in(inbound("1", "a"))
    question = Message.objects.get()
    Message.objects.create(
        session=question.session, seq=question.seq + 1, role="system", origin="system",
        text="Sorry.", channel=question.channel,
    )  # fmt: skip
    ((_, message),) = tell_waiting(wired.circuit, wired.route, wired.sessions, "later", clock())
    assert Delivery.objects.get().message_id == message
    assert texts() == ["a", "Sorry.", "later"]


def test_a_person_with_two_turns_waiting_gets_one_word(wired: Wired) -> None:
    wired.open_it()
    Turn.objects.all().delete()
    wired.take_in(inbound("1", "a"))
    Turn.objects.update(attempts=1)  # it was tried; what follows gets a turn of its own
    wired.take_in(inbound("2", "b"))
    assert Turn.objects.filter(state="queued").count() == 2
    now = app_clock.now()

    def tell() -> int:
        return len(tell_waiting(wired.circuit, wired.route, wired.sessions, "later", now))

    assert (tell(), tell()) == (1, 0)
    Turn.objects.update(noticed_at=None)
    Turn.objects.filter(attempts=1).update(noticed_at=now)  # told, and then one more message
    assert tell() == 0


def test_the_operator_sees_who_waits_and_why(wired: Wired) -> None:
    wired.open_it()
    rows, _ = waiting.rows()
    assert {row["kind"] for row in rows} == {"away"}
    AgentHealth.objects.all().delete()
    assert {row["kind"] for row in waiting.rows()[0]} == {"soon"}


def test_a_check_closes_what_nobody_answering_had_opened(wired: Wired, clock: Clock) -> None:
    wired.open_it()
    wired.take_in(inbound("1"))
    row = health_of(1)
    assert row is not None
    note_check(row, None, LIMITS, clock())
    wired.circuit.clear()
    assert state() == "closed"
    assert len(wired.claim()) == 2


def test_after_silence_a_check_only_lets_one_turn_try(wired: Wired, clock: Clock) -> None:
    wired.open_it("timeout_first")
    wired.take_in(inbound("1"), inbound("2", user="u2"))
    row = health_of(1)
    assert row is not None
    note_check(row, None, LIMITS, clock())
    wired.circuit.clear()
    assert state() == "open"
    assert len(wired.claim()) == 1


def test_checks_in_the_worker_open_and_close_it(agent: Agent, clock: Clock) -> None:
    with FakeAgent.in_thread() as fake:
        Agent.objects.update(url=fake.url)
        Agent.objects.create(name="own", command="python a.py {port}")
        assert check_agents() == {"one": None}
        fake.healthy = False
        for _ in range(5):
            assert check_agents() == {"one": "HTTP 503"}
        row = AgentHealth.objects.get()
        assert (row.state, row.detail) == ("open", "/health: HTTP 503")
        fake.healthy = True
        check_agents()
        assert state() == "closed"


def test_a_removed_agent_leaves_no_trace(wired: Wired) -> None:
    wired.take_in(inbound("1"))
    turn = wired.claim_one()
    Agent.objects.all().delete()
    assert wired.fail(turn, state="queued").state == "queued"
    assert not AgentHealth.objects.exists()
