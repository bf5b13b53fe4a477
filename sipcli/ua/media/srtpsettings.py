"""What is wanted of SRTP in a call - by an option, by the account, by default - and whether it can be had here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipcli.errors import ConfigError
from sipcli.media import dtls, srtp

if TYPE_CHECKING:
    from sipcli.config import AccountConfig

__all__ = ["srtp_for"]

_BY_TLS = 'reach the server by TLS (--transport tls, or transport = "tls" in the account)'


def srtp_for(config: AccountConfig | None, audio: dict[str, Any], *, secure: bool) -> dict[str, Any]:
    """The keywords ``srtp``, ``srtp_keys`` and ``secure`` of a media session.  *secure*: the signalling is over TLS.

    Keys in the SDP are read by everybody on the way, so they go out over TLS only (RFC 4568 section 7). Those of DTLS
    are not, but who could change the SDP could sit in between (RFC 5763 section 8): ``required`` without TLS is to
    be had only by asking for DTLS by name. ConfigError where SRTP is required, or DTLS asked for, and cannot be.
    """
    wanted = audio.get("srtp") or ("optional" if config is None else config.srtp)
    keys = audio.get("srtp_keys") or ("any" if config is None else config.srtp_keys)
    if wanted != "off":
        if keys == "dtls" and (lacks := dtls.missing()):
            raise ConfigError(f"DTLS-SRTP needs {lacks}", hint="install it")
        in_sdp = keys != "dtls" and secure and not srtp.missing()
        by_dtls = keys != "sdes" and not dtls.missing()
        if wanted == "required" and not in_sdp and (keys != "dtls"):
            if secure:
                raise ConfigError(f"SRTP needs {srtp.missing()}", hint="install it")
            raise ConfigError(
                "SRTP is required, and its keys may travel over TLS only",
                hint=f'{_BY_TLS}, or agree on keys by DTLS: --srtp-keys dtls, or srtp_keys = "dtls" in the account',
            )
        wanted = wanted if in_sdp or by_dtls else "off"
    return {"srtp": wanted, "srtp_keys": keys, "secure": secure}
