"""SIPp scenarios made from one template: a registrar that asks in every shape there is, good and bad."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

ECHO = """[last_Via:]
[last_From:]
[last_To:]@TAG@
[last_Call-ID:]
[last_CSeq:]
"""

ASKED = """
<send><![CDATA[
SIP/2.0 @STATUS@
@ECHO@@LINES@Content-Length: 0

]]></send>
"""

TAKEN = """
<send><![CDATA[
SIP/2.0 200 OK
@ECHO@[last_Contact:]
Expires: 600
Content-Length: 0

]]></send>
"""

SILENT = """
<recv request="REGISTER" timeout="300" ontimeout="clean"/>
<nop><action><error message="LOOP: after a challenge that cannot be answered came [last_message]"/></action></nop>
<label id="clean"/>
<nop/>
"""


@dataclass(frozen=True)
class Shape:
    """One or more rounds of challenges to a REGISTER, and what comes of them.

    *rounds*: header lines; every round but the last is answered, and the last one if *answers* is given:
    regular expressions over ``Authorization`` (or another header, if *header* says so), each must match.
    *status* is the exit status otherwise.  *first* are status lines sent before the challenge.
    *between* is what the answers to the other rounds must match; *after*, the request that follows the accepted one.
    """

    rounds: tuple[tuple[str, ...], ...]
    answers: tuple[str, ...] = ()
    status: int = 0
    code: int = 401
    header: str = "Authorization"
    first: tuple[str, ...] = field(default=())
    between: tuple[str, ...] = ("Digest ",)
    after: tuple[str, ...] = ("Digest ",)

    @property
    def unanswered(self) -> bool:
        """Nothing in it can be answered, so that nobody need be asked."""
        return len(self.rounds) == 1 and not self.answers

    def scenario(self) -> str:
        """The XML.  SIPp ends with 0 when every round went as it should, and nothing came after the last."""
        steps = ['<recv request="REGISTER"/>', *(ASKED.replace("@STATUS@", line) for line in self.first)]
        steps = [step.replace("@LINES@", "") for step in steps]
        for number, lines in enumerate(self.rounds, 1):
            reason = "Unauthorized" if self.code == 401 else "Proxy Authentication Required"
            text = "".join(f"{_literal(line)}\n" for line in lines)
            steps.append(ASKED.replace("@STATUS@", f"{self.code} {reason}").replace("@LINES@", text))
            if number < len(self.rounds):
                steps.append(self._expects(self.between))
        if self.answers:
            steps += [self._expects(self.answers), TAKEN, self._expects(self.after), TAKEN]
        else:
            steps.append(SILENT)
        most = max(len(self.answers), len(self.between) if len(self.rounds) > 1 else 0, 1)
        names = ",".join(f"m{n}" for n in range(most))
        body = "".join(steps).replace("@ECHO@", ECHO).replace("@TAG@", ";tag=registrar")
        used = f'<Reference variables="{names}"/>' if 'assign_to="m0"' in body else ""
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="shape">{body}{used}</scenario>\n'

    def _expects(self, patterns: tuple[str, ...]) -> str:
        if not patterns:
            return '<recv request="REGISTER" timeout="8000"/>'
        checks = "".join(
            f'<ereg regexp="{escape(pattern, {chr(34): "&quot;"})}" search_in="hdr" header="{self.header}:" '
            f'check_it="true" assign_to="m{number}"/>'
            for number, pattern in enumerate(patterns)
        )
        return f'<recv request="REGISTER" timeout="8000"><action>{checks}</action></recv>'


def _literal(line: str) -> str:
    """As SIPp writes it unchanged: leading space, backslashes and what XML cannot hold in hexadecimal."""
    text = re.sub(r"[^ -Z^-~]|\\|\A ", lambda match: "".join(f"\\x{b:02x}" for b in match[0].encode("latin-1")), line)
    return text.replace("]]>", "\\x5d\\x5d>")
