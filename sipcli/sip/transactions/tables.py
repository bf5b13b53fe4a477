"""The four SIP transactions as data: RFC 3261 section 17, corrected by RFC 6026 and RFC 4320.

A row reads as a sentence: *(state, input): (next state, actions in order)*.
A pair that is absent is ignored; rows without actions stand for the arrows of
the figures that are labelled "-".  ``transaction.py`` gives every action its
one meaning; the names of timers are the letters of the RFCs.

In every row a user of the transaction is told last: by then timers are armed
and the ACK is on its way, whatever the user does next.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "CLIENT",
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "MACHINES",
    "SERVER",
    "Do",
    "In",
    "Machine",
    "State",
    "Table",
]


class State(StrEnum):
    """Where a transaction stands."""

    CALLING = "CALLING"
    TRYING = "TRYING"
    PROCEEDING = "PROCEEDING"
    ACCEPTED = "ACCEPTED"
    COMPLETED = "COMPLETED"
    CONFIRMED = "CONFIRMED"
    TERMINATED = "TERMINATED"


class In(StrEnum):
    """What can happen to a transaction.  A timer's value is the name under which it is armed."""

    RX_1XX = "1xx"
    RX_2XX = "2xx"
    RX_3XX = "300-699"
    RX_REQUEST = "request again"
    RX_ACK = "ACK"
    TX_1XX = "1xx from TU"
    TX_2XX = "2xx from TU"
    TX_3XX = "300-699 from TU"
    A = "A"
    B = "B"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    I = "I"  # noqa: E741 - the RFC's letter
    J = "J"
    K = "K"
    L = "L"
    M = "M"
    TRYING = "TRYING"  # an INVITE server's 200 ms, RFC 3261 section 17.2.1
    LATE_TRYING = "LATE_TRYING"  # a non-INVITE server's 3.5 s, RFC 4320 section 4.1
    CANCEL = "CANCEL"  # 64*T1 after a CANCEL, RFC 3261 section 9.1
    TRANSPORT_ERROR = "transport error"


class Do(StrEnum):
    """What a transaction does about it."""

    SEND = "SEND"  # the request of a client, the user's response of a server
    RESEND = "RESEND"  # the octets that were sent last
    ACK = "ACK"  # to a final response that is not 2xx
    TRYING = "TRYING"  # 100, of the transaction's own accord
    STOP = "STOP"  # every timer of this transaction
    ARM_A = "ARM_A"
    ARM_B = "ARM_B"
    ARM_D = "ARM_D"
    ARM_E = "ARM_E"
    ARM_F = "ARM_F"
    ARM_G = "ARM_G"
    ARM_H = "ARM_H"
    ARM_I = "ARM_I"
    ARM_J = "ARM_J"
    ARM_K = "ARM_K"
    ARM_L = "ARM_L"
    ARM_M = "ARM_M"
    ARM_TRYING = "ARM_TRYING"
    ARM_LATE_TRYING = "ARM_LATE_TRYING"
    DOUBLE_A = "DOUBLE_A"  # without a limit: Timer B ends it
    DOUBLE_E = "DOUBLE_E"  # up to T2
    E_AT_T2 = "E_AT_T2"
    DOUBLE_G = "DOUBLE_G"  # up to T2
    DELIVER = "DELIVER"  # the response, or the ACK of a 2xx, to the user
    TIMEOUT = "TIMEOUT"  # tell the user
    ERROR = "ERROR"  # tell the user


Table: TypeAlias = Mapping[tuple[State, In], tuple[State, tuple[Do, ...]]]
S = State
D = Do

INVITE_CLIENT_TABLE: Final[Table] = {  # RFC 6026 section 8.4, figure 5
    (S.CALLING, In.A): (S.CALLING, (D.RESEND, D.DOUBLE_A)),
    (S.CALLING, In.B): (S.TERMINATED, (D.TIMEOUT,)),
    (S.CALLING, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),
    (S.CALLING, In.RX_1XX): (S.PROCEEDING, (D.STOP, D.DELIVER)),
    (S.CALLING, In.RX_2XX): (S.ACCEPTED, (D.STOP, D.ARM_M, D.DELIVER)),
    (S.CALLING, In.RX_3XX): (S.COMPLETED, (D.STOP, D.ACK, D.ARM_D, D.DELIVER)),
    (S.PROCEEDING, In.RX_1XX): (S.PROCEEDING, (D.DELIVER,)),
    (S.PROCEEDING, In.RX_2XX): (S.ACCEPTED, (D.STOP, D.ARM_M, D.DELIVER)),
    (S.PROCEEDING, In.RX_3XX): (S.COMPLETED, (D.STOP, D.ACK, D.ARM_D, D.DELIVER)),
    (S.PROCEEDING, In.CANCEL): (S.TERMINATED, (D.TIMEOUT,)),  # RFC 3261 section 9.1: cancelled, and nobody said so
    # Not in the figure, which knows only errors of sending: a lost connection brings no
    # answer any more, and without this row a call would ring for ever.
    (S.PROCEEDING, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),
    (S.ACCEPTED, In.RX_2XX): (S.ACCEPTED, (D.DELIVER,)),  # retransmitted, or from another fork
    (S.ACCEPTED, In.M): (S.TERMINATED, ()),
    (S.COMPLETED, In.RX_3XX): (S.COMPLETED, (D.ACK,)),  # and the user hears nothing
    (S.COMPLETED, In.D): (S.TERMINATED, ()),
    (S.COMPLETED, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),
}

CLIENT_TABLE: Final[Table] = {  # RFC 3261 section 17.1.2.2, figure 6
    (S.TRYING, In.E): (S.TRYING, (D.RESEND, D.DOUBLE_E)),
    (S.TRYING, In.F): (S.TERMINATED, (D.TIMEOUT,)),
    (S.TRYING, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),
    (S.TRYING, In.RX_1XX): (S.PROCEEDING, (D.DELIVER,)),  # E stays armed: see the next state
    (S.TRYING, In.RX_2XX): (S.COMPLETED, (D.STOP, D.ARM_K, D.DELIVER)),
    (S.TRYING, In.RX_3XX): (S.COMPLETED, (D.STOP, D.ARM_K, D.DELIVER)),
    (S.PROCEEDING, In.E): (S.PROCEEDING, (D.RESEND, D.E_AT_T2)),  # a server repeats its final response only when asked
    (S.PROCEEDING, In.F): (S.TERMINATED, (D.TIMEOUT,)),
    (S.PROCEEDING, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),
    (S.PROCEEDING, In.RX_1XX): (S.PROCEEDING, (D.DELIVER,)),
    (S.PROCEEDING, In.RX_2XX): (S.COMPLETED, (D.STOP, D.ARM_K, D.DELIVER)),
    (S.PROCEEDING, In.RX_3XX): (S.COMPLETED, (D.STOP, D.ARM_K, D.DELIVER)),
    (S.COMPLETED, In.RX_2XX): (S.COMPLETED, ()),  # buffered: a user gets one final response
    (S.COMPLETED, In.RX_3XX): (S.COMPLETED, ()),
    (S.COMPLETED, In.K): (S.TERMINATED, ()),
}

INVITE_SERVER_TABLE: Final[Table] = {  # RFC 6026 section 8.6, figure 7
    (S.PROCEEDING, In.TRYING): (S.PROCEEDING, (D.TRYING,)),
    (S.PROCEEDING, In.RX_REQUEST): (S.PROCEEDING, (D.RESEND,)),
    (S.PROCEEDING, In.TX_1XX): (S.PROCEEDING, (D.STOP, D.SEND)),
    (S.PROCEEDING, In.TX_2XX): (S.ACCEPTED, (D.STOP, D.SEND, D.ARM_L)),
    (S.PROCEEDING, In.TX_3XX): (S.COMPLETED, (D.STOP, D.SEND, D.ARM_G, D.ARM_H)),
    (S.PROCEEDING, In.TRANSPORT_ERROR): (S.PROCEEDING, (D.ERROR,)),  # RFC 6026 section 8.8: stay, absorb
    (S.ACCEPTED, In.RX_REQUEST): (S.ACCEPTED, ()),
    (S.ACCEPTED, In.TX_2XX): (S.ACCEPTED, (D.SEND,)),  # the user repeats it, section 13.3.1.4
    (S.ACCEPTED, In.RX_ACK): (S.ACCEPTED, (D.DELIVER,)),
    (S.ACCEPTED, In.TRANSPORT_ERROR): (S.ACCEPTED, (D.ERROR,)),
    (S.ACCEPTED, In.L): (S.TERMINATED, ()),
    (S.COMPLETED, In.RX_REQUEST): (S.COMPLETED, (D.RESEND,)),
    (S.COMPLETED, In.G): (S.COMPLETED, (D.RESEND, D.DOUBLE_G)),
    (S.COMPLETED, In.RX_ACK): (S.CONFIRMED, (D.STOP, D.ARM_I)),
    (S.COMPLETED, In.H): (S.TERMINATED, (D.TIMEOUT,)),  # RFC 3261 section 17.2.1: no ACK, and the user MUST hear of it
    (S.COMPLETED, In.TRANSPORT_ERROR): (S.COMPLETED, (D.ERROR,)),
    (S.CONFIRMED, In.RX_ACK): (S.CONFIRMED, ()),
    (S.CONFIRMED, In.I): (S.TERMINATED, ()),
}

SERVER_TABLE: Final[Table] = {  # RFC 3261 section 17.2.2, figure 8
    (S.TRYING, In.RX_REQUEST): (S.TRYING, ()),
    (S.TRYING, In.TX_1XX): (S.PROCEEDING, (D.SEND,)),
    (S.TRYING, In.TX_2XX): (S.COMPLETED, (D.STOP, D.SEND, D.ARM_J)),
    (S.TRYING, In.TX_3XX): (S.COMPLETED, (D.STOP, D.SEND, D.ARM_J)),
    (S.TRYING, In.LATE_TRYING): (S.PROCEEDING, (D.TRYING,)),  # RFC 4320 section 4.1
    # RFC 4320 section 4.2: who cannot answer before the client's Timer F has fired does
    # not answer at all, and never 408.  The figure would keep this state for ever.
    (S.TRYING, In.F): (S.TERMINATED, (D.TIMEOUT,)),
    (S.TRYING, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),  # a lost connection; the figure knows errors of sending
    (S.PROCEEDING, In.RX_REQUEST): (S.PROCEEDING, (D.RESEND,)),
    (S.PROCEEDING, In.TX_1XX): (S.PROCEEDING, (D.SEND,)),
    (S.PROCEEDING, In.TX_2XX): (S.COMPLETED, (D.STOP, D.SEND, D.ARM_J)),
    (S.PROCEEDING, In.TX_3XX): (S.COMPLETED, (D.STOP, D.SEND, D.ARM_J)),
    (S.PROCEEDING, In.LATE_TRYING): (S.PROCEEDING, ()),  # the user said 100 already
    (S.PROCEEDING, In.F): (S.TERMINATED, (D.TIMEOUT,)),
    (S.PROCEEDING, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),
    (S.COMPLETED, In.RX_REQUEST): (S.COMPLETED, (D.RESEND,)),
    (S.COMPLETED, In.J): (S.TERMINATED, ()),
    (S.COMPLETED, In.TRANSPORT_ERROR): (S.TERMINATED, (D.ERROR,)),
}


class Machine(NamedTuple):
    """A table, the state it starts in and what is done on entering that state."""

    name: str
    title: str
    source: str
    start: State
    opening: tuple[Do, ...]
    table: Table


INVITE_CLIENT: Final = Machine(
    "INVITE_CLIENT",
    "INVITE client transaction",
    "RFC 6026 section 8.4, figure 5",
    S.CALLING,
    (D.SEND, D.ARM_A, D.ARM_B),
    INVITE_CLIENT_TABLE,
)
CLIENT: Final = Machine(
    "CLIENT",
    "Non-INVITE client transaction",
    "RFC 3261 section 17.1.2.2, figure 6",
    S.TRYING,
    (D.SEND, D.ARM_E, D.ARM_F),
    CLIENT_TABLE,
)
INVITE_SERVER: Final = Machine(
    "INVITE_SERVER",
    "INVITE server transaction",
    "RFC 6026 section 8.6, figure 7",
    S.PROCEEDING,
    (D.ARM_TRYING,),
    INVITE_SERVER_TABLE,
)
SERVER: Final = Machine(
    "SERVER",
    "Non-INVITE server transaction",
    "RFC 3261 section 17.2.2, figure 8; RFC 4320 section 4",
    S.TRYING,
    (D.ARM_LATE_TRYING, D.ARM_F),
    SERVER_TABLE,
)
MACHINES: Final = (INVITE_CLIENT, CLIENT, INVITE_SERVER, SERVER)
