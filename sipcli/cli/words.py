"""Events as sentences: the one place where what the agent tells becomes words for a person.

``None`` means that there is nothing a person needs to hear: a refresh that
changed nothing, or what the terminal says by itself (``auth.user_action``).
Words of the server come quoted and labelled (threat T12); the console escapes
the whole line once more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from sipcli.cli.console import Style
from sipcli.observe.text import quoted, safe_text
from sipcli.ua.failures import answered

__all__ = ["Sentence", "Talker", "answer_command"]

Fields: TypeAlias = Mapping[str, Any]


class Sentence(NamedTuple):
    """*text*, its colour, and from how many ``-v`` on it is said."""

    text: str
    style: str | None = None
    level: int = 0


class Talker:
    """Turns events into sentences, and says of a registration only what has changed."""

    def __init__(self, aors: Mapping[str, str] | None = None, *, can_ask: Callable[[], bool] = lambda: False) -> None:
        """*aors*: account name to address; *can_ask*: could a person be asked here and now?"""
        self._aors = dict(aors or {})
        self._can_ask = can_ask
        self.control: Path | None = None
        """The control socket, where it is not the usual one."""
        self._registration: dict[str, tuple[Any, ...]] = {}
        self._tell: Mapping[str, Callable[[Fields], Sentence | None]] = {
            "ready": _ready,
            "registration": self._registration_changed,
            "auth.challenged": _challenged,
            "auth.provider": _provider,
            "auth.needed": self._needed,
            "auth.done": _done,
            "call": _call,
            "media": _media,
            "stats": _stats,
            "dtmf": _dtmf,
            "message": _message,
            "transfer": _transfer,
            "composing": _composing,
            "subscription": _subscription,
            "publication": _publication,
            "warning": _warning,
            "network": _network,
            "silence": _silence,
            "trace": _trace,
        }

    def sentence(self, event: str, fields: Fields) -> Sentence | None:
        """What to say about *event*; an event of a later version is nothing to stumble over."""
        tell = self._tell.get(event)
        return tell(fields) if tell is not None else None

    def _registration_changed(self, fields: Fields) -> Sentence | None:
        account, state = fields["account"], fields["state"]
        aor = str(self._aors.get(account, account))
        told = (state, fields.get("code"), fields.get("contact"))
        if self._registration.get(account) == told:
            return None  # a refresh that changed nothing
        if state in ("registered", "refused", "failed", "unregistered", "retrying"):
            self._registration[account] = told
        match state:
            case "registered":
                return Sentence(registered_words(aor, fields), Style.GOOD)
            case "waiting":
                return _waits(aor, fields)
            case "trying":
                return Sentence(f"registering {aor}", Style.DIM, 1)
            case "retrying":
                later = fields.get("retry_in_s")
                when = f"trying again in {later:.0f} s" if later is not None else "trying again"
                return Sentence(f"{aor} is not registered: {_why(fields)}; {when}", Style.WARN)
            case "unregistered":
                return Sentence(f"{aor} is no longer registered", Style.DIM, 1)
        return Sentence(f"{aor} could not be registered: {_why(fields)}", Style.BAD, 1)  # the result says it, too

    def _needed(self, fields: Fields) -> Sentence | None:
        if fields.get("account") is not None and fields.get("expires_in_s") is None:
            account = fields["account"]
            aor, realm = str(self._aors.get(account, account)), quoted(fields.get("realm") or "")
            refused = f"the password was refused ({fields['refused']}); " if fields.get("refused") else ""
            give = answer_command(str(account), self.control)
            return Sentence(f"{refused}{aor} waits for its password (realm {realm}); give it with: {give}", Style.WARN)
        if self._can_ask() or not fields.get("at_terminal"):
            return None  # the prompt itself says so; or a window does
        return Sentence(f"{fields['provider']} needs a person, and nobody can be asked here", Style.WARN)


def answer_command(account: str, control: Path | None) -> str:
    """What a person types elsewhere; *control* is the socket where it is not the usual one, and has to be named."""
    return f"sipcli auth answer {account}" + ("" if control is None else f" --control {shlex.quote(str(control))}")


def _waits(aor: str, fields: Fields) -> Sentence:
    later, reason = fields.get("retry_in_s"), fields.get("reason") or ""
    if reason.startswith("expired:"):
        return Sentence(f"{aor} is no longer registered, and still waits for its password", Style.WARN)
    if fields.get("code") == 403:
        return Sentence(f"{aor} was refused ({_why(fields)}), and waits for another password", Style.WARN)
    if later is not None:
        return Sentence(f"{aor}: {safe_text(reason)}; asking anew in {later:.0f} s", Style.WARN)
    return Sentence(f"{aor}: waiting for the secret", Style.DIM, 1)


def registered_words(aor: str, fields: Fields) -> str:
    """``registered sip:alice@example.com at 192.0.2.1:5060 (tls) for 600 s``."""
    via = fields.get("via") or {}
    where = f" at {via['remote']} ({via['transport']})" if via.get("remote") else ""
    lasts = f" for {fields['expires_s']} s" if fields.get("expires_s") is not None else ""
    return f"registered {aor}{where}{lasts}"


_KINDS = ("connect", "dns", "lost", "tls", "timeout", "closed", "protocol")
"""What programs read before the colon of a reason."""


def _why(fields: Fields) -> str:
    code, reason = fields.get("code"), fields.get("reason")
    if code:
        return answered(code, reason or "")
    kind, _, words = (reason or "").partition(": ")
    return safe_text(words if kind in _KINDS else reason or "no reason given", limit=200)


def _ready(fields: Fields) -> Sentence:
    where = ", ".join(f"{at['transport']}:{at['host']}:{at['port']}" for at in fields.get("listen", ()))
    return Sentence(f"listening on {where}" if where else "ready", Style.DIM, 1)


def _challenged(fields: Fields) -> Sentence:
    again = f", attempt {fields['attempt']}" if fields.get("attempt", 1) > 1 else ""
    skipped = "".join(
        f"; skipped: {item.get('algorithm') or item['scheme']} ({item['why']})" for item in fields.get("skipped", ())
    )
    verdict = f"answering with {fields['chosen']}" if fields["chosen"] else "nothing we may answer"
    return Sentence(
        f"{fields['method']} was challenged ({fields['code']}{again}) for realm {quoted(fields['realm'])}, "
        f"{verdict}{skipped}",
        Style.DIM,
        1,
    )


_PROVIDER_WORDS = {
    "found": "found",
    "not_found": "not found",
    "denied": "denied",
    "unavailable": "not available",
    "cancelled": "cancelled",
}


def _provider(fields: Fields) -> Sentence:
    outcome = fields["outcome"]
    text = f"{fields['provider']}: {_PROVIDER_WORDS.get(outcome, outcome)} after {fields['took_ms']:.0f} ms"
    if fields.get("secret_ref"):
        text += f", {safe_text(fields['secret_ref'])}"
    if fields.get("message"):
        text += f" ({safe_text(fields['message'], limit=300)})"
    troubled = outcome in ("denied", "unavailable")
    return Sentence(text, Style.WARN if troubled else Style.DIM, 0 if troubled else 1)


def _done(fields: Fields) -> Sentence:
    return Sentence(
        f"challenge {fields['challenge']}: {fields['outcome']} after {fields['waited_ms']:.0f} ms", Style.DIM, 1
    )


def _call(fields: Fields) -> Sentence | None:
    who = _person(fields)
    match fields["state"]:
        case "calling":
            return Sentence(f"calling {who}", Style.DIM) if fields["direction"] == "out" else None
        case "ringing":
            if fields["direction"] == "out":
                return Sentence(f"{who} is ringing")
            return Sentence(f"\N{LONG RIGHTWARDS ARROW} call from {who}{_arrival(fields)}", Style.BOLD)
        case "early":
            return Sentence(f"{who}: early media", Style.DIM, 1)
        case "answered":
            return Sentence(f"in call with {who}", Style.GOOD)
        case "held":
            ours = fields.get("by") == "local"
            return Sentence(f"the call with {who} is on hold" if ours else f"{who} put the call on hold")
        case "ended":
            why = f": {safe_text(fields['why'], limit=200)}" if fields.get("why") else ""
            return Sentence(f"call with {who} ended, {_ended(fields)}{why}")
    return None


def _arrival(fields: Fields) -> str:
    """How a call came, where it is known."""
    if (transport := fields.get("transport")) is None:
        return ""
    worth = str(fields.get("asserted")).replace("untrusted", "not trusted")
    return f" ({safe_text(transport).upper()}, P-Asserted-Identity {worth})"


def _ended(fields: Fields) -> str:
    """Who ended it.  A code of ours is not the server's word, and a 487 only echoes that somebody gave up."""
    code, by = fields.get("code"), str(fields.get("by"))
    if code == 487 and by != "network":
        return "we gave up" if by == "local" else "they gave up"
    if code and by == "local" and fields["direction"] == "in":
        return f"we answered {code}"
    if code:
        return answered(code, fields.get("reason") or "")
    ends = {"local": "we hung up", "remote": "they hung up", "network": "the network failed"}
    return ends.get(by, "nobody knows why")


def _person(fields: Fields) -> str:
    name = fields.get("remote_name")
    uri = safe_text(fields["remote"], limit=200)
    return f"{quoted(name)} <{uri}>" if name else uri


def _media(fields: Fields) -> Sentence:
    codec = f" {fields['codec']}/{fields['rate']}" if fields.get("codec") else ""
    silent = fields["state"] == "silent"
    words = "no audio arrives" if silent else f"audio {fields['state']}{codec}"
    return Sentence(words, Style.WARN if silent else Style.DIM, 0 if silent else 1)


def _stats(fields: Fields) -> Sentence:
    rx = fields["rx"]
    mos = f", MOS {fields['mos']:.1f}" if fields.get("mos") is not None else ""
    return Sentence(
        f"received {rx['packets']} packets, lost {rx['lost_pct']:.1f} %, jitter {rx['jitter_ms']:.1f} ms{mos}",
        Style.DIM,
        1,
    )


def _dtmf(fields: Fields) -> Sentence:
    verb = "heard" if fields["direction"] == "in" else "sent"
    return Sentence(f"{verb} DTMF {safe_text(fields['digit'])}", None, 0 if verb == "heard" else 1)


def _message(fields: Fields) -> Sentence | None:
    if fields["direction"] == "out":
        return None  # the result says what became of it
    body = fields["body"]
    if fields["content_type"] == "text/html":
        from sipcli.observe.hypertext import text_of_html  # few people are sent any

        body = text_of_html(body)
    return Sentence(f"message from {safe_text(fields['remote'], limit=200)}: {safe_text(body, limit=1000)}")


def _composing(fields: Fields) -> Sentence | None:
    if fields["state"] != "active":
        return None
    return Sentence(f"{safe_text(fields['remote'], limit=200)} is writing\N{HORIZONTAL ELLIPSIS}", Style.DIM)


def _subscription(fields: Fields) -> Sentence | None:
    what = f"{safe_text(fields['package'])} of {safe_text(fields['target'], limit=200)}"
    match fields["state"]:
        case "active":
            return Sentence(f"subscribed to {what} for {fields.get('expires_s', 0)} s", Style.DIM)
        case "pending":
            return Sentence(f"{what}: somebody there must allow us first", Style.WARN)
        case "retrying":
            again = f"asking again in {fields.get('retry_in_s', 0):.0f} s"
            return Sentence(f"the subscription to {what} was lost: {_why(fields)}; {again}", Style.WARN)
        case "refused" | "failed" | "terminated":
            return Sentence(f"the subscription to {what} has ended: {_why(fields)}", Style.DIM, 1)
    return None


def _publication(fields: Fields) -> Sentence:
    what = f"{safe_text(fields['package'])} of {safe_text(fields['target'], limit=200)}"
    troubled = fields["state"] in ("retrying", "refused", "failed")
    why = f" ({_why(fields)})" if troubled else ""
    return Sentence(f"publication of {what}: {fields['state']}{why}", Style.WARN if troubled else Style.DIM, 1)


def _transfer(fields: Fields) -> Sentence | None:
    where = safe_text(fields["target"], limit=200)
    ours = fields["direction"] == "in"  # then the reason is our own sentence
    if ours and fields.get("reason"):
        why = f" ({safe_text(fields['reason'], limit=200)})"
    else:
        why = f" ({_why(fields)})" if fields.get("code") or fields.get("reason") else ""
    if fields["kind"] == "replaced":
        words = {
            "done": f"the call goes on with {where}",
            "failed": f"{where} could not take the call over{why}",
            "refused": f"{where} wanted to take the call over, and may not{why}",
        }
    elif not ours:
        words = {
            "trying": f"transferring to {where}",
            "done": f"transferred to {where}",
            "failed": f"the transfer to {where} failed{why}",
        }
    else:
        words = {
            "asked": f"they send us to {where}",
            "refused": f"they sent us to {where}, and we do not go{why}",
            "trying": f"following to {where}",
            "failed": f"{where} was not reached{why}",
        }
    state = fields["state"]
    style = Style.WARN if state in ("failed", "refused") else Style.BOLD if state == "asked" else None
    return Sentence(words[state], style) if state in words else None


def _network(fields: Fields) -> Sentence:
    if fields["state"] == "lost":
        return Sentence(f"{fields['address']} is no address of this machine any more", Style.WARN)
    return Sentence(f"going on from {fields['address']}", Style.GOOD)


def _silence(fields: Fields) -> Sentence | None:
    quiet = f"nothing was heard for {fields['quiet_s']:.0f} s"
    words = {
        "asking": f"{quiet}: asking whether they are still there",
        "alive": f"{quiet}, but they are still there",
        "unknown": f"{quiet}, and the question whether they are still there did not get through",
    }
    state = fields["state"]  # gone: the end of the call says so
    return Sentence(words[state], Style.DIM if state == "alive" else Style.WARN) if state in words else None


def _warning(fields: Fields) -> Sentence:
    hint = f" \N{EN DASH} {fields['hint']}" if fields.get("hint") else ""
    return Sentence(f"warning: {safe_text(fields['message'], limit=500)}{hint}", Style.WARN)


def _trace(fields: Fields) -> Sentence:
    arrow = "\N{RIGHTWARDS ARROW}" if fields["direction"] == "out" else "\N{LEFTWARDS ARROW}"
    return Sentence(f"{arrow} {fields['remote']} {safe_text(fields['start_line'], limit=120)}", Style.DIM, 1)
