"""Which tables and keys a configuration may have, and what each value must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from sipcli.errors import ConfigError

__all__ = [
    "ACCOUNT",
    "ALGORITHMS",
    "AUDIO",
    "BUILTIN_TYPES",
    "CHAIN_KEYS",
    "DEFAULTS",
    "POLICY",
    "PROVIDER_KEYS",
    "REALM",
    "REQUIRED_PROVIDER_KEYS",
    "TOP",
    "WILDCARD_REALM",
    "Rule",
]

Check: TypeAlias = Callable[[Any], str | None]
"""None when the value will do, else what it should have been: "must be …"."""

ALGORITHMS = ("MD5", "SHA-256", "SHA-512-256")
"""Digest algorithms, the weakest first (RFC 7616 section 3.7, RFC 8760)."""


WILDCARD_REALM = "must not hold “*”: name each realm, or say --insecure-any-realm for a single run"
"""A server may then ask for any name it likes (threat T02)."""


class Rule(NamedTuple):
    """One key: *check* judges its value; *required* keys must be there."""

    check: Check
    required: bool = False


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a text in quotes"
    if not value.strip():
        return "must not be empty"
    return "must be one line" if any(c in value for c in "\r\n\0") else None


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _flag_or_auto(value: Any) -> str | None:
    return None if isinstance(value, bool) or value == "auto" else 'must be true, false or "auto"'


def _names(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return None
    return 'must be a list of names: ["keychain", "prompt"]'


def _codecs(value: Any) -> str | None:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        return 'must be a list of codecs: ["opus", "pcmu"]'
    from sipcli.media.codecs import choose  # whoever names no codec need not load them

    try:
        choose(value)
    except ConfigError as error:
        return f"cannot be used: {error}" + (f"; {error.hint}" if error.hint else "")
    return None


def _realms(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        return 'must be a list of realms: ["example.com"]'
    return WILDCARD_REALM if "*" in value else None


def _schemes(value: Any) -> str | None:
    known = ("digest", "bearer")
    if isinstance(value, list) and value and len(set(map(str, value))) == len(value) and all(x in known for x in value):
        return None
    return 'must be a list of "digest" and "bearer", the preferred first: ["bearer", "digest"]'


def _table(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be a table"


def _number(low: float, high: float, *, whole: bool = False) -> Check:
    def check(value: Any) -> str | None:
        kinds = (int,) if whole else (int, float)
        # `value != value` finds nan, which TOML knows.
        if isinstance(value, bool) or not isinstance(value, kinds) or value != value or not low <= value <= high:
            return f"must be a {'whole ' if whole else ''}number from {low} to {high}"
        return None

    return check


def _one_of(*words: str | int) -> Check:
    def check(value: Any) -> str | None:
        if value in words and not isinstance(value, bool):
            return None
        return "must be " + " or ".join(f'"{word}"' if isinstance(word, str) else str(word) for word in words)

    return check


TOP: Mapping[str, Rule] = {
    "defaults": Rule(_table),
    "accounts": Rule(_table),
    "providers": Rule(_table),
    "policy": Rule(_table),
    "audio": Rule(_table),
}

AUDIO: Mapping[str, Rule] = {
    "input": Rule(_text),
    "output": Rule(_text),
    "echo_cancellation": Rule(_one_of("off", "auto", "required")),
    "tones": Rule(_one_of("eu", "uk", "us", "off")),
    "ring_device": Rule(_text),
    "ring_file": Rule(_text),
}

DEFAULTS: Mapping[str, Rule] = {"account": Rule(_text)}

POLICY: Mapping[str, Rule] = {
    "max_wait": Rule(_number(1, 3600)),
    "max_prompts": Rule(_number(0, 100, whole=True)),
    "max_attempts": Rule(_number(1, 20, whole=True)),
    "max_stale": Rule(_number(1, 20, whole=True)),
    "late_answer": Rule(_number(0, 3600)),
    "realms": Rule(_realms),
    "realm_change": Rule(_one_of("refuse", "ask", "allow")),
    "min_qop": Rule(_one_of("none", "auth", "auth-int")),
    "schemes": Rule(_schemes),
    "min_algorithm": Rule(_one_of(*ALGORITHMS)),
    "md5_over_udp": Rule(_one_of("warn", "allow", "refuse")),
    "transfer": Rule(_one_of("refuse", "ask", "same-domain")),
    "redirect": Rule(_one_of("refuse", "ask", "same-domain")),
    "cache_ttl": Rule(_number(0, 86400 * 30)),
    "fetch_width": Rule(_number(1, 1024, whole=True)),
    "background_prompts": Rule(_flag),
}

REALM: Mapping[str, Rule] = {"username": Rule(_text), "credentials": Rule(_names)}

ACCOUNT: Mapping[str, Rule] = {
    "aor": Rule(_text, required=True),
    "registrar": Rule(_text),
    "proxy": Rule(_text),
    "username": Rule(_text),
    "display_name": Rule(_text),
    "transport": Rule(_one_of("udp", "tcp", "tls", "ws", "wss")),
    "ca_file": Rule(_text),
    "cert_file": Rule(_text),
    "key_file": Rule(_text),
    "credentials": Rule(_names),
    # RFC 3261 section 20.19: a delta-seconds; 0 would be an un-REGISTER.
    "expires": Rule(_number(1, 2**32 - 1, whole=True)),
    "register": Rule(_flag),
    "outbound": Rule(_flag_or_auto),
    "gruu": Rule(_flag),
    "shared_auth": Rule(_flag),
    "call_waiting": Rule(_flag),
    "dnd": Rule(_flag),
    "dnd_code": Rule(_one_of(480, 486, 603)),
    "100rel": Rule(_one_of("off", "supported", "required")),
    "silence": Rule(_number(0, 86400)),
    "codecs": Rule(_codecs),
    "silence_suppression": Rule(_flag),
    "dtmf_mode": Rule(_one_of("auto", "auto_info", "info", "inband")),
    "srtp": Rule(_one_of("off", "optional", "required")),
    "srtp_keys": Rule(_one_of("sdes", "dtls", "any")),
    "ice": Rule(_one_of("off", "optional", "required", "relay")),
    "stun": Rule(_text),
    "turn": Rule(_text),
    "turn_username": Rule(_text),
    "turn_credentials": Rule(_names),
    "realms": Rule(_table),
    "policy": Rule(_table),
}

PROVIDER_KEYS: Mapping[str, frozenset[str]] = {
    "keychain": frozenset({"service", "username", "backend", "allow_plaintext", "optional"}),
    "vault": frozenset({
        "url", "mount", "path", "field", "username_field", "kv_version", "version", "namespace", "auth", "ca_file",
        "proxy", "use_stale",
    }),
    "oauth": frozenset({
        "issuer", "token_url", "device_url", "authorize_url", "client_id", "client_secret_file", "flow", "scope", "use",
        "password_url", "password_field", "username_field", "audience", "authz_server", "ca_file", "proxy",
        "redirect_port", "store", "store_file", "browser", "verification_hosts", "token_issuer",
    }),
    "prompt": frozenset(),
    "env": frozenset({"variable"}),
    "file": frozenset({"path", "allow_readable"}),
    "exec": frozenset({"command", "env", "interactive"}),
    "systemd": frozenset({"credential"}),
    "sim": frozenset({"k_file", "op_file", "opc_file", "sqn_file", "username"}),
    "askpass": frozenset({"command", "env", "require"}),
}  # fmt: skip
"""The options of the built-in types; what a third party's type takes is its own affair."""

CHAIN_KEYS = frozenset({"required"})
"""What any provider's table may say to the chain that asks it: ``required`` ends the chain when it says no."""

BUILTIN_TYPES = tuple(PROVIDER_KEYS)

REQUIRED_PROVIDER_KEYS: Mapping[str, frozenset[str]] = {
    "vault": frozenset({"url", "path", "auth"}),
    "oauth": frozenset({"client_id", "flow"}),
    "env": frozenset({"variable"}),
    "file": frozenset({"path"}),
    "exec": frozenset({"command"}),
    "sim": frozenset({"k_file", "sqn_file"}),
    "systemd": frozenset({"credential"}),
}
