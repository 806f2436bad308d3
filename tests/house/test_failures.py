"""Each failure that is known from this field has tests that would show it here.

The names are those of the public reports: OC openclaw, HE hermes-agent, NB nanobot,
NC nanoclaw, CW chatwoot, OW open-webui; some have no number.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.process import ROOT

FAILURES: dict[str, tuple[str, ...]] = {
    "OC 78422, 78473: inbound dies while the channel says connected": (
        "core/test_lines.py::test_only_the_inbound_side_says_that_a_channel_lives",
        "core/test_lines.py::test_a_listener_that_ends_is_started_again",
        "core/test_lines.py::test_a_webhook_that_nobody_calls_is_asked_for",
        "core/test_health.py::test_a_listener_that_has_not_come_back_does_not_listen",
        "adapters/test_telegram.py::test_a_webhook_that_was_taken_away_is_registered_again",
    ),
    "OC 127211: accepted messages dead-lettered behind a healthy long turn": (
        "core/test_turns.py::test_without_an_agent_turns_wait_and_are_not_lost",
        "core/test_recovery.py::test_renewed_leases_hold",
        "core/test_runner.py::test_a_slow_turn_delays_no_other_session",
        "core/test_session_life.py::test_a_session_with_work_in_flight_is_left_alone",
    ),
    "OC 51620, 95866, NB 2652: queued messages lost on restart; drain of 0 ms": (
        "core/test_recovery.py::test_the_next_process_takes_over_what_the_dead_one_held",
        "core/test_runner.py::test_draining_waits_for_what_ends_in_time",
        "core/test_runner.py::test_what_does_not_end_in_time_is_left_for_recovery",
        "core/test_batcher.py::test_stopping_finishes_what_was_handed_over",
        "core/test_lines.py::test_an_inlet_keeps_the_position_with_what_was_read",
        "core/test_backlog.py::test_a_polled_channel_loses_nothing_its_offset_moves_after_the_commit",
        "crash/test_kills.py::test_a_kill_at_every_point_loses_nothing",
    ),
    "OC 121831, 139847: a message in mid-turn kills the turn and vanishes": (
        "core/test_ingest.py::test_what_comes_in_mid_turn_waits_in_a_turn_of_its_own",
        "core/test_storm.py::test_in_a_storm_every_message_is_answered_once_and_in_order",
    ),
    "OC 5951, 67173: follow-ups dropped when a turn times out": (
        "core/test_turns.py::test_an_end_looks_for_the_next",
        "core/test_batcher.py::test_a_database_that_is_out_for_a_while_loses_no_claim",
    ),
    "OC 92270: a stuck lane; recovery logs success and frees nothing": (
        "core/test_recovery.py::test_a_lease_that_is_not_renewed_runs_out",
        "core/test_runner.py::test_an_end_that_cannot_be_written_fails_the_turn_and_frees_the_session",
        "core/test_sender.py::test_an_end_that_cannot_be_written_does_not_hold_the_lane",
    ),
    "OC 42681, HE 68502: duplicates in": (
        "core/test_ingest.py::test_a_message_twice_in_one_arrival_is_one_message",
        "core/test_ingest.py::test_a_message_redelivered_later_is_one_message",
        "core/test_storm.py::test_fifty_webhooks_with_the_same_update_at_once_make_one_answer",
    ),
    "OC 71577, HE 70700: duplicates out": (
        "core/test_unsure.py::test_what_may_have_arrived_is_repeated_with_the_mark",
        "core/test_recovery.py::test_a_part_found_in_mid_sending_may_have_arrived",
        "core/test_turns.py::test_a_turn_that_was_taken_away_ends_unheard",
    ),
    "OC 39138, 16555: a flood of stale messages after a long outage": (
        "core/test_deliveries.py::test_old_parts_expire_instead_of_flooding_a_chat",
        "core/test_sender.py::test_a_send_that_keeps_failing_expires",
        "files/test_round_trip.py::test_work_under_way_comes_back_as_history",
    ),
    "OC 33403, 74321: permanent errors retried for ever": (
        "core/test_sender.py::test_a_refusal_is_a_dead_letter_at_once_and_frees_the_lane",
        "core/test_deliveries.py::test_what_has_ended_frees_its_lane",
    ),
    "OC 12440, 9930: a schedule advanced without running, never armed, dropped": (
        "schedules/test_schedules.py::test_only_a_change_of_timing_moves_the_next_time",
        "schedules/test_firing.py::test_what_was_missed",
        "schedules/test_firing.py::test_no_flood_after_a_long_outage",
        "crash/test_schedules.py::test_the_worker_is_killed_at_every_point",
    ),
    "the session store emptied by one parse error; whole-file rewrites": (
        "files/test_hostile_files.py::test_a_bad_line_is_named_counted_and_skipped",
        "files/test_hostile_files.py::test_a_write_that_fails_leaves_the_old_file",
        "files/test_round_trip.py::test_a_last_line_cut_by_a_crash_costs_only_itself",
    ),
    "OC 91588: memory grows from 350 MB to 15 GB": (
        "core/test_stream.py::test_too_many_unread_events_become_one_reload",
        "core/test_ratelimit.py::test_full_buckets_are_forgotten",
        "core/test_deliveries.py::test_the_trace_of_a_part_is_bounded",
        "core/test_backlog.py::test_only_so_much_is_answered_first",
        "bench/test_bars.py::test_bars_of_a_scenario_are_held",
    ),
    "OC 75330: event loop frozen by synchronous work": (
        "core/test_runner.py::test_a_long_answer_leaves_no_event_loop_frozen",
        "core/test_health.py::test_an_event_loop_that_was_frozen_is_said_for_a_minute",
    ),
    "OC 45712: reconnect storms": (
        "core/test_lines.py::test_a_channel_that_cannot_open_is_tried_again_ever_more_seldom",
    ),
    "OC 25591: a terminal close treated as passing": (
        "core/test_lines.py::test_a_channel_that_the_platform_closed_is_left_alone_for_long",
    ),
    "OC 24148, 4530: answers to the wrong person": (
        "core/test_ingest.py::test_a_person_who_writes_from_two_chats_is_answered_in_each",
    ),
    "OC 72217: control words leak into chats": (
        "core/test_runner.py::test_silence_is_a_field_and_nothing_is_sent",
    ),
    "OC 98556: idle heartbeats replay the whole context": (
        "house/test_gateway_process.py::test_an_idle_gateway_calls_no_agent",
    ),
    "OC 25595: strict configuration bricks the gateway": (
        "house/test_checks.py::test_bad_channel_never_stops_a_command",
        "house/test_checks.py::test_w009_unknown_name_with_a_suggestion",
        "core/test_health.py::test_a_channel_that_was_left_out",
        "core/test_sender.py::test_a_channel_that_is_down_stops_alone_and_keeps_its_parts",
    ),
    "HE 89293: the database corrupted by several processes": (
        "house/test_gateway_process.py::test_a_second_gateway_on_the_same_folder_says_so_and_ends",
    ),
    "CW 3608: second message first; chunks without memory of which parts arrived": (
        "core/test_deliveries.py::test_parts_of_a_lane_leave_one_after_the_other",
        "core/test_deliveries.py::test_a_receipt_is_kept",
        "core/test_turns.py::test_the_reply_stands_right_behind_what_it_answers",
    ),
    "HE 49201, 45682: interrupted turns re-run blindly, for ever": (
        "core/test_recovery.py::test_a_turn_that_is_always_cut_off_is_quarantined",
        "core/test_runner.py::test_what_was_heard_is_never_asked_for_twice",
        "crash/test_kills.py::test_a_message_that_kills_the_gateway_every_time_is_quarantined",
    ),
    "NC 2423, 2995: the agent is never told that its message failed": (
        "core/test_undelivered.py::test_the_agent_is_told_that_its_message_failed",
        "core/test_undelivered.py::test_also_when_it_was_not_sent_in_time",
        "core/test_recovery.py::test_the_person_is_told_once_of_a_turn_given_up",
        "core/test_deliveries.py::test_a_receipt_is_kept",
    ),
    "CW 11363: the bot answers after a human took over": (
        "core/test_runner.py::test_the_bot_answers_after_a_human_took_over",
        "core/test_ingest.py::test_with_an_operator_messages_are_handed_over_and_no_agent_is_asked",
    ),
    "OW 29596, 23733: refresh in mid-stream truncates": (
        "core/test_stream.py::test_snapshot_and_tail_are_the_text_in_every_order_of_events",
        "core/test_stream.py::test_a_watcher_that_noticed_a_gap_starts_again",
    ),
    "one poisoned update blocks the polling batch for ever": (
        "adapters/test_telegram_polling.py::test_one_poisoned_update_blocks_nobody",
        "e2e/test_bad_input.py::test_a_poisoned_update_does_not_block_the_polling_batch",
    ),
}
"""What failed elsewhere -> the tests, below tests/."""


@cache
def _tests_of(file: str) -> dict[str, str]:
    """Test function -> its name and all that is said in its file's and its own docstring."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    about = ast.get_docstring(tree) or ""
    return {
        node.name: f"{node.name} {about} {ast.get_docstring(node) or ''}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("failure", FAILURES)
def test_each_failure_has_its_tests(failure: str) -> None:
    said = ""
    for name in FAILURES[failure]:
        file, _, test = name.partition("::")
        assert test in _tests_of(file), f"{name} is no more"
        said += _tests_of(file)[test]
    for number in re.findall(r"\d{4,}", failure):
        assert number in said, f"none of its tests names {number}"
