"""What the audio of calls cannot be, as far as the configuration tells: said before anything is sent."""

from __future__ import annotations

from typing import Any

from sipcli.config import AccountConfig
from sipcli.media.codecs import choose
from sipcli.sip.flow import ENCRYPTED
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import preferring
from sipcli.ua.media.icesettings import check_ice
from sipcli.ua.media.srtpsettings import srtp_for
from sipcli.ua.net.resolve import settled

__all__ = ["check_calls"]


def check_calls(config: AccountConfig, audio: dict[str, Any], target: SipUri | None, *, direct: bool = False) -> None:
    """Raise ConfigError where a call to *target*, or one that comes in (None), could never have the *audio* it must.

    *direct*: calls come straight to our ports, which speak no TLS.  What DNS decides is not foreseen: the call says it.
    """
    choose(audio.get("codecs", config.codecs))
    check_ice(config, audio.get("ice"))
    srtp_for(config, audio, secure=not direct and _may_be_encrypted(config, target))


def _may_be_encrypted(config: AccountConfig, target: SipUri | None) -> bool:
    server = config.proxy or config.registrar
    # The way to a sips registrar is secure from its first hop (RFC 5630 section 5.1.1.1).
    if server.secure or config.registrar.secure or (target is not None and target.secure):
        return True
    return settled(preferring(server.hop, config.transport)) in (None, *ENCRYPTED)
