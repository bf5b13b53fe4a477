"""A flow that is gone, or the address it began at: who must hear of it (RFC 5626 section 4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipcli.sip.events import FlowReleased
from sipcli.sip.flow import Flow

if TYPE_CHECKING:
    from sipcli.sip.core import Core

__all__ = ["abandon", "flows_in_use", "leave_address", "lose", "try_again"]


def lose(core: Core, flow: Flow, why: str) -> None:
    """Nothing goes through *flow* any more: its transactions end, its registrations look for another."""
    keeper = core.keepers.pop(flow.id, None)
    if keeper is not None:
        keeper.stop()
    core.flows.lost(flow)
    core.layer.flow_lost(flow, why)
    for exchange in tuple(core.exchanges):
        exchange.flow_lost(flow)
    for account in tuple(core.accounts.values()):
        if account.registration is not None:
            account.registration.flow_lost(flow)
    for usage in tuple(core.standing):
        usage.flow_lost(flow)


def abandon(core: Core, flow: Flow, why: str) -> None:
    """We give *flow* up ourselves: calls that it carried need another, too, and the shell may close it.

    To a UDP association that is the only end there is: its socket knows nothing of what became of the path.
    """
    for dialog in core.dialogs.values():
        if dialog.flow is not None and dialog.flow.id == flow.id:
            dialog.flow = None
    core.emit(FlowReleased(flow))
    lose(core, flow, why)


def flows_in_use(core: Core) -> list[Flow]:
    """Everything that a request, a dialog or an account may go over next, each flow once."""
    flows = {flow.id: flow for flow in core.flows}
    flows |= {tx.flow.id: tx.flow for tx in core.layer}
    flows |= {dialog.flow.id: dialog.flow for dialog in core.dialogs.values() if dialog.flow is not None}
    return list(flows.values())


def leave_address(core: Core, host: str) -> None:
    """*host* is no address of this machine any more: what began there is over.

    Registrations bind anew at once; calls are adrift until they are offered another address.
    """
    for flow in flows_in_use(core):
        if flow.local[0] == host:
            abandon(core, flow, f"lost: {host} is no address of this machine any more")
    for account in tuple(core.accounts.values()):
        account.moved(core.flows.own(account))
        if account.registration is not None:
            account.registration.address_lost(host)


def try_again(core: Core) -> None:
    """There may be a network again: whoever waits after a failure without an answer need not wait any longer."""
    for account in tuple(core.accounts.values()):
        if account.registration is not None:
            account.registration.network_changed()
