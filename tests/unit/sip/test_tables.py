"""The shape of the four transaction tables, and the rows that are easy to get wrong."""

from __future__ import annotations

import pytest

from sipcli.sip.transactions.client_transaction import ClientTransaction
from sipcli.sip.transactions.server_transaction import ServerTransaction
from sipcli.sip.transactions.tables import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    MACHINES,
    SERVER,
    Do,
    In,
    Machine,
    State,
)
from sipcli.sip.transactions.timers import TimerValues

S = State
TIMERS = {event for event in In if len(event) == 1} | {In.TRYING, In.LATE_TRYING, In.CANCEL}
TIMEOUTS = {Do.TIMEOUT, Do.ERROR}
HALVES = {"INVITE_CLIENT": ClientTransaction, "CLIENT": ClientTransaction}

every_machine = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


def states_of(machine: Machine) -> set[State]:
    return {state for state, _ in machine.table} | {state for state, _ in machine.table.values()} | {machine.start}


def reachable(machine: Machine, start: State, events: set[In] | None = None) -> set[State]:
    seen: set[State] = set()
    todo = [start]
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        todo += [
            target
            for (source, event), (target, _) in machine.table.items()
            if source is state and (events is None or event in events)
        ]
    return seen


@every_machine
def test_every_state_can_be_reached(machine: Machine) -> None:
    assert reachable(machine, machine.start) == states_of(machine)


@every_machine
def test_terminated_is_a_true_sink(machine: Machine) -> None:
    assert S.TERMINATED in states_of(machine)
    assert not [pair for pair in machine.table if pair[0] is S.TERMINATED]


@every_machine
def test_every_state_leads_to_the_end(machine: Machine) -> None:
    for state in states_of(machine):
        assert S.TERMINATED in reachable(machine, state), state


@every_machine
def test_time_alone_ends_every_state_but_those_where_a_user_or_a_peer_may_take_as_long_as_it_likes(
    machine: Machine,
) -> None:
    ringing = {INVITE_CLIENT.name: {S.PROCEEDING}, INVITE_SERVER.name: {S.PROCEEDING}}
    endless = {
        state for state in states_of(machine) if S.TERMINATED not in reachable(machine, state, TIMERS - {In.CANCEL})
    }
    assert endless == ringing.get(machine.name, set())


@every_machine
def test_every_armed_timer_is_handled_wherever_it_can_still_run(machine: Machine) -> None:
    """Follows each timer from the row that arms it until a row stops all timers or ends the transaction."""
    armings = {(machine.start, In(do[4:])) for do in machine.opening if do.startswith("ARM_")}
    for state, actions in machine.table.values():
        armings |= {(state, In(do[4:])) for do in actions if do.startswith("ARM_")}
    assert armings
    for start, timer in armings:
        seen: set[State] = set()
        todo = [start]
        while todo:
            state = todo.pop()
            if state in seen or state is S.TERMINATED:
                continue
            seen.add(state)
            assert (state, timer) in machine.table, f"timer {timer} runs in {state}, which does not handle it"
            todo += [
                target
                for (source, _), (target, actions) in machine.table.items()
                if source is state and Do.STOP not in actions
            ]


@every_machine
def test_every_handled_timer_is_armed_somewhere(machine: Machine) -> None:
    armed = {do[4:] for _, actions in machine.table.values() for do in actions if do.startswith("ARM_")}
    armed |= {do[4:] for do in machine.opening if do.startswith("ARM_")}
    handled = {event.value for _, event in machine.table if event in TIMERS}
    assert handled - armed == ({"CANCEL"} if machine is INVITE_CLIENT else set())  # that one is armed by cancel()


@every_machine
def test_what_a_machine_cannot_hear_or_do_is_in_no_row(machine: Machine) -> None:
    client = machine in (INVITE_CLIENT, CLIENT)
    heard = {event for _, event in machine.table}
    assert not [event for event in heard if event.startswith("TX" if client else "RX") and "xx" in event]
    foreign = (
        {In.TX_1XX, In.TX_2XX, In.TX_3XX, In.RX_REQUEST, In.RX_ACK} if client else {In.RX_1XX, In.RX_2XX, In.RX_3XX}
    )
    assert not heard & foreign
    half = HALVES.get(machine.name, ServerTransaction)
    for do in {do for _, actions in machine.table.values() for do in actions} | set(machine.opening):
        assert do.startswith("ARM_") or callable(getattr(half, f"do_{do.lower()}"))


@every_machine
def test_the_user_is_told_last(machine: Machine) -> None:
    for pair, (_, actions) in machine.table.items():
        for do in actions[:-1]:
            assert do not in TIMEOUTS | {Do.DELIVER}, pair


def test_every_word_is_used() -> None:
    used = {do for machine in MACHINES for _, actions in machine.table.values() for do in actions}
    used |= {do for machine in MACHINES for do in machine.opening}
    assert used == set(Do)
    assert {event for machine in MACHINES for _, event in machine.table} == set(In)
    for do in used:
        if do.startswith("ARM_"):
            TimerValues().duration(do[4:], reliable=True)


# -- row by row against the figures, where implementations differ ------------------------------


def test_a_non_invite_client_goes_on_repeating_after_a_1xx() -> None:
    assert Do.STOP not in CLIENT.table[S.TRYING, In.RX_1XX][1]
    assert CLIENT.table[S.PROCEEDING, In.E] == (S.PROCEEDING, (Do.RESEND, Do.E_AT_T2))
    assert CLIENT.table[S.PROCEEDING, In.F] == (S.TERMINATED, (Do.TIMEOUT,))


def test_an_invite_client_stops_repeating_after_a_1xx() -> None:
    assert Do.STOP in INVITE_CLIENT.table[S.CALLING, In.RX_1XX][1]
    assert (S.PROCEEDING, In.A) not in INVITE_CLIENT.table
    assert (S.PROCEEDING, In.B) not in INVITE_CLIENT.table  # who rings may ring for minutes


def test_rfc_6026_accepted_passes_every_2xx_up_and_sends_no_ack() -> None:
    for state in (S.CALLING, S.PROCEEDING):
        target, actions = INVITE_CLIENT.table[state, In.RX_2XX]
        assert target is S.ACCEPTED
        assert Do.ARM_M in actions
        assert Do.ACK not in actions
    assert INVITE_CLIENT.table[S.ACCEPTED, In.RX_2XX] == (S.ACCEPTED, (Do.DELIVER,))


def test_rfc_6026_accepted_server_absorbs_the_invite_and_repeats_nothing_by_itself() -> None:
    assert INVITE_SERVER.table[S.PROCEEDING, In.TX_2XX] == (S.ACCEPTED, (Do.STOP, Do.SEND, Do.ARM_L))
    assert INVITE_SERVER.table[S.ACCEPTED, In.RX_REQUEST] == (S.ACCEPTED, ())
    assert INVITE_SERVER.table[S.ACCEPTED, In.RX_ACK] == (S.ACCEPTED, (Do.DELIVER,))
    assert not [
        pair for pair, (_, actions) in INVITE_SERVER.table.items() if pair[0] is S.ACCEPTED and Do.RESEND in actions
    ]


def test_rfc_6026_an_error_of_sending_ends_no_invite_server() -> None:
    for state in (S.PROCEEDING, S.ACCEPTED, S.COMPLETED):
        assert INVITE_SERVER.table[state, In.TRANSPORT_ERROR] == (state, (Do.ERROR,))


def test_only_a_failure_is_acknowledged_by_the_transaction_and_its_repetition_is_not_delivered() -> None:
    acked = {pair for pair, (_, actions) in INVITE_CLIENT.table.items() if Do.ACK in actions}
    assert acked == {(state, In.RX_3XX) for state in (S.CALLING, S.PROCEEDING, S.COMPLETED)}
    assert INVITE_CLIENT.table[S.COMPLETED, In.RX_3XX] == (S.COMPLETED, (Do.ACK,))


def test_rfc_4320_a_server_that_is_too_late_says_nothing() -> None:
    for state in (S.TRYING, S.PROCEEDING):
        assert SERVER.table[state, In.F] == (S.TERMINATED, (Do.TIMEOUT,))
