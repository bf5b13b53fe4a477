"""SIPp scenarios made from one template: somebody inside a call challenges what we send him (threat T01)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SDP = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=mallory 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""

CALLS = """
<send retrans="500"><![CDATA[
INVITE sip:[service]@127.0.0.1 SIP/2.0
Via: SIP/2.0/@TRANSPORT@ @PLACE@;rport;branch=[branch]
From: <sip:@NAME@@mallory.test>;tag=evil[call_number]
To: <sip:[service]@127.0.0.1>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:mallory@@PLACE@;transport=@TRANSPORT@>
Max-Forwards: 70
@SDP@
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200" rrs="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/@TRANSPORT@ @PLACE@;rport;branch=[branch]
From: <sip:@NAME@@mallory.test>;tag=evil[call_number]
To: <sip:[service]@127.0.0.1>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
"""

IS_CALLED = """
<recv request="INVITE"/>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=evil[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:mallory@@PLACE@;transport=@TRANSPORT@>
@SDP@
]]></send>
<recv request="ACK"/>
"""

CHALLENGES = """
<recv request="@METHOD@" timeout="15000">@WATCH@</recv>
<send><![CDATA[
SIP/2.0 @STATUS@
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
@ASK@
Content-Length: 0

]]></send>
"""

WATCH = """<action>
 <ereg regexp="Digest" search_in="hdr" header="Authorization:" assign_to="leak"/>
 <ereg regexp="Digest" search_in="hdr" header="Proxy-Authorization:" assign_to="leak_too"/>
</action>"""

IS_LEFT = """
<recv request="BYE" timeout="15000">@WATCH@</recv>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
"""

HEARS_NO_MORE = """
<recv request="BYE" timeout="1000" ontimeout="clean"/>
<nop><action><error message="LEAK: after our challenge came [last_message]"/></action></nop>
<label id="clean"/>
"""

ENDS = """
<nop next="caught" test="leak"/>
<nop next="caught" test="leak_too"/>
<nop next="end"/>
<label id="caught"/>
<nop><action><error message="LEAK: credentials came unasked: [last_message]"/></action></nop>
<label id="end"/>
<nop/>
<Reference variables="leak,leak_too"/>
"""


@dataclass(frozen=True)
class Attack:
    """Challenge *method*, which the victim sends inside the call, with *code*, for *realm*."""

    method: str
    code: Literal[401, 407]
    realm: str

    @property
    def name(self) -> str:
        """A user part that says which attack it is."""
        return f"{self.method}-{self.code}-{'any' if self.realm == '*' else 'exact'}"

    def scenario(self, role: Literal["caller", "callee"], transport: str, place: str) -> str:
        """The XML; *place* is the ``host:port`` where the victim finds him.  SIPp ends with 0 when nothing leaks."""
        steps = [CALLS if role == "caller" else IS_CALLED, CHALLENGES]
        if self.method == "INVITE":
            steps.append('<recv request="ACK"/>')
        steps.append(HEARS_NO_MORE if self.method == "BYE" else IS_LEFT)
        header, reason = ("Proxy-Authenticate", "Proxy") if self.code == 407 else ("WWW-Authenticate", "Unauthorized")
        values = {
            "WATCH": WATCH,
            "SDP": SDP,
            "STATUS": f"{self.code} {reason}",
            "ASK": f'{header}: Digest realm="{self.realm}", nonce="chosen-by-mallory", algorithm=SHA-256, qop="auth"',
            "METHOD": self.method,
            "NAME": self.name,
            "PLACE": place,
            "TRANSPORT": transport.upper(),
        }
        text = "".join([f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{self.name}">', *steps, ENDS])
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        return text + "</scenario>\n"
