"""sipcli: a softphone whose secrets come after the challenge.

Names are handed out lazily (PEP 562), so that ``import sipcli.credentials``
loads neither asyncio nor ssl, and ``sipcli --help`` loads no provider.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sipcli.config import AccountConfig as AccountConfig
    from sipcli.config import Config as Config
    from sipcli.config import load_config as load_config
    from sipcli.credentials import BearerCredentials as BearerCredentials
    from sipcli.credentials import Cancelled as Cancelled
    from sipcli.credentials import Ha1Credentials as Ha1Credentials
    from sipcli.credentials import PasswordCredentials as PasswordCredentials
    from sipcli.credentials import Secret as Secret
    from sipcli.errors import AgentClosed as AgentClosed
    from sipcli.errors import AuthAbandoned as AuthAbandoned
    from sipcli.errors import AuthExpired as AuthExpired
    from sipcli.errors import AuthRefused as AuthRefused
    from sipcli.errors import AuthRefused as RegistrationRefused  # noqa: F401
    from sipcli.errors import Busy as Busy
    from sipcli.errors import Busy as CallBusy  # noqa: F401
    from sipcli.errors import ChallengeGone as ChallengeGone
    from sipcli.errors import ConfigError as ConfigError
    from sipcli.errors import Declined as CallDeclined  # noqa: F401
    from sipcli.errors import Declined as Declined
    from sipcli.errors import MediaFailed as MediaFailed
    from sipcli.errors import NetworkError as NetworkError
    from sipcli.errors import NoAnswer as NoAnswer
    from sipcli.errors import NoCredentials as NoCredentials
    from sipcli.errors import NotReachable as NotReachable
    from sipcli.errors import ProviderFailed as ProviderFailed
    from sipcli.errors import RequestFailed as RequestFailed
    from sipcli.errors import SipcliError as SipcliError
    from sipcli.errors import UnregisteredThread as UnregisteredThread
    from sipcli.sip.syntax.uri import SipUri as SipUri
    from sipcli.ua.account import Account as Account
    from sipcli.ua.agent import AuthChallengeParam as AuthChallengeParam
    from sipcli.ua.agent import UserAgent as UserAgent
    from sipcli.ua.auth.challenge import AuthChallenge as AuthChallenge
    from sipcli.ua.auth.challenge import DeferredChallenge as DeferredChallenge
    from sipcli.ua.auth.challenge import DeferredToken as DeferredToken
    from sipcli.ua.brokered import BrokeredAccount as BrokeredAccount
    from sipcli.ua.calls.call import Call as Call
    from sipcli.ua.calls.call import CallReport as CallReport
    from sipcli.ua.media.audiospec import AudioFile as AudioFile
    from sipcli.ua.media.audiospec import Device as Device
    from sipcli.ua.media.audiospec import Echo as Echo
    from sipcli.ua.media.audiospec import Null as Null
    from sipcli.ua.media.audiospec import Tone as Tone
    from sipcli.ua.media.audiospec import WavFile as WavFile
    from sipcli.ua.notices import Notice as Notice

_HOMES = {
    "sipcli.config": ("AccountConfig", "Config", "load_config"),
    "sipcli.credentials": ("BearerCredentials", "Cancelled", "Ha1Credentials", "PasswordCredentials", "Secret"),
    "sipcli.errors": (
        "AgentClosed", "AuthAbandoned", "AuthExpired", "AuthRefused", "Busy", "ChallengeGone", "ConfigError",
        "Declined", "MediaFailed", "NetworkError", "NoAnswer", "NoCredentials", "NotReachable", "ProviderFailed",
        "RequestFailed", "SipcliError", "UnregisteredThread",
    ),
    "sipcli.ua.account": ("Account",),
    "sipcli.ua.brokered": ("BrokeredAccount",),
    "sipcli.sip.syntax.uri": ("SipUri",),
    "sipcli.ua.agent": ("AuthChallengeParam", "UserAgent"),
    "sipcli.ua.media.audiospec": ("AudioFile", "Device", "Echo", "Null", "Tone", "WavFile"),
    "sipcli.ua.calls.call": ("Call", "CallReport"),
    "sipcli.ua.auth.challenge": ("AuthChallenge", "DeferredChallenge", "DeferredToken"),
    "sipcli.ua.notices": ("Notice",),
}  # fmt: skip
_HOME = {name: (module, name) for module, names in _HOMES.items() for name in names} | {
    # What a caller expects them to be called.
    "RegistrationRefused": ("sipcli.errors", "AuthRefused"),
    "CallBusy": ("sipcli.errors", "Busy"),
    "CallDeclined": ("sipcli.errors", "Declined"),
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    try:
        module, real = _HOME[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(module), real)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
