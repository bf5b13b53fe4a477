"""Every state meets every input, and random conversations keep the layer's promises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipcli.errors import LocalProtocolError
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Response
from sipcli.sip.transactions.tables import MACHINES, In, Machine, State
from tests.support.transactions import TCP, UDP, Bench, Callee, Caller, request, response

FLOWS = {"udp": UDP, "tcp": TCP}
ALL = [(machine, state, event) for machine in MACHINES for state in State for event in In]


def start(bench: Bench, machine: Machine, flow: Flow):  # type: ignore[no-untyped-def]
    message = request("INVITE" if "INVITE" in machine.name else "MESSAGE")
    if "CLIENT" in machine.name:
        user: Caller | Callee = Caller()
        tx = bench.layer.request(message, flow, user)  # type: ignore[arg-type]
    else:
        user = Callee()
        tx = bench.layer.on_request(message, flow)  # type: ignore[assignment]
        tx.user = user
    return message, tx, user


def message_for(event: In, message):  # type: ignore[no-untyped-def]
    statuses = {"1xx": 180, "2xx": 200, "300-699": 486}
    if (status := statuses.get(event.removesuffix(" from TU"))) is not None:
        return response(message, 100 if status == 180 and message.method != "INVITE" else status)
    return request("ACK", branch=message.via.branch, to_tag="to-1") if event is In.RX_ACK else message


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
@pytest.mark.parametrize(("machine", "state", "event"), ALL, ids=lambda value: getattr(value, "name", value))
def test_every_state_times_every_input(machine: Machine, state: State, event: In, flow: Flow) -> None:
    bench = Bench()
    message, tx, _ = start(bench, machine, flow)
    if state is State.TERMINATED:
        bench.layer.forget(tx)
    tx.state = state
    sent, timers = len(bench.sent), bench.wheel.armed(tx)
    tx.feed(event, message_for(event, message))
    if (state, event) not in machine.table:
        assert (tx.state, len(bench.sent), bench.wheel.armed(tx)) == (state, sent, timers), "it must be ignored"
    else:
        target = machine.table[state, event][0]
        # Over TCP a timer of zero seconds carries a transaction on at once.
        assert tx.state is target or (flow.reliable and tx.state is State.TERMINATED)
    assert (tx in list(bench.layer)) == (tx.state is not State.TERMINATED)
    if tx.terminated:
        assert bench.wheel.armed(tx) == {}


steps = st.lists(
    st.one_of(
        st.sampled_from([100, 180, 183, 200, 202, 302, 401, 486, 503, 603]),
        st.sampled_from(["again", "ack", "cancel", "lost"]),
        st.floats(0.01, 40, allow_nan=False),
    ),
    max_size=12,
)


@settings(max_examples=150)
@given(method=st.sampled_from(["INVITE", "MESSAGE"]), flow=st.sampled_from([UDP, TCP]), steps=steps)
def test_a_client_hears_one_failure_or_many_2xx_and_always_ends(
    method: str, flow: Flow, steps: list[int | str | float]
) -> None:
    bench, caller = Bench(), Caller()
    message = request(method)
    tx = bench.layer.request(message, flow, caller)
    for step in steps:
        if isinstance(step, int):
            bench.layer.on_response(response(message, step), flow)
        elif step == "cancel":
            tx.cancel()
        elif step == "lost":
            bench.layer.flow_lost(flow, "lost")
        elif isinstance(step, float):
            bench.advance(step)
    finals = [code for code in caller.codes if code >= 200]
    assert len(finals) <= 1 or (method == "INVITE" and all(code < 300 for code in finals))
    assert not (finals and finals[0] < 300 and caller.ends), "who has a 2xx is told of no time-out"
    assert len(caller.ends) <= 1
    if method == "INVITE" and not finals and not tx.terminated:
        bench.layer.on_response(response(message, 486), flow)  # the peer may ring for ever
    bench.advance(70)
    assert (len(bench.layer), len(bench.wheel)) == (0, 0)
    assert bench.times("ACK") == [] or any(code >= 300 for code in caller.codes)
    assert len(bench.times(method)) <= 11


@settings(max_examples=150)
@given(method=st.sampled_from(["INVITE", "MESSAGE"]), flow=st.sampled_from([UDP, TCP]), steps=steps)
def test_a_server_sends_one_final_response_and_always_ends(
    method: str, flow: Flow, steps: list[int | str | float]
) -> None:
    bench, callee = Bench(), Callee()
    message = request(method)
    tx = bench.layer.on_request(message, flow)
    assert tx is not None
    tx.user = callee
    for step in steps:
        if isinstance(step, int):
            try:
                tx.reply(step)
            except LocalProtocolError:
                assert method == "MESSAGE"
        elif step == "again" and not tx.terminated:
            assert bench.layer.on_request(message, flow) is None
        elif step == "ack":
            assert bench.layer.on_request(request("ACK", branch=message.via.branch, to_tag=tx.local_tag), flow) is None
        elif step == "cancel":
            bench.layer.on_request(request("CANCEL", branch=message.via.branch), flow)
        elif step == "lost":
            bench.layer.flow_lost(flow, "lost")
        elif isinstance(step, float):
            bench.advance(step)
    finals = {
        answer.status
        for _, _, answer in bench.sent
        if isinstance(answer, Response) and answer.status >= 200 and answer.cseq.method == method
    }
    assert len(finals) <= 1 or (method == "INVITE" and finals <= {200, 202})
    if not tx.answered:
        tx.reply(500)
    bench.advance(70)
    assert (len(bench.layer), len(bench.wheel)) == (0, 0)
    assert callee.told.count("cancelled") <= 1
