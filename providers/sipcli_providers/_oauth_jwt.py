"""What an access token says about itself, where it is a JWT (RFC 9068).

We are the client, not the resource: nothing here is verified, and a token that
is no JWT is just as good.  But one that *says* it was issued by somebody else,
or for somebody else, must not be sent to a SIP server (threat T09).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from sipcli.credentials import Denied
from sipcli_providers._answers import seconds_of
from sipcli_providers._lookup import printable


def claims_of(token: str) -> Mapping[str, Any]:
    """The claims, empty for what is no JWT (RFC 7519 section 7.2)."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def check_claims(claims: Mapping[str, Any], what: str, issuer: str | None, audience: str | None) -> None:
    """Denied for a token that names another issuer than *issuer*, or other audiences than *audience*."""
    said = claims.get("iss")
    if issuer is not None and said is not None and said != issuer:
        raise Denied(
            f"{what} gave a token that says it was issued by {printable(str(said), 80)}: "
            "if that is right, write exactly that as token_issuer"
        )
    named = claims.get("aud")
    if audience is not None and named is not None and audience not in (named if isinstance(named, list) else [named]):
        raise Denied(f"{what} gave a token for {printable(str(named), 80)}, and audience asks for {audience}")


def life_of(claims: Mapping[str, Any], now: float | None) -> float | None:
    """Seconds the token lives by its own account, None if it does not say.

    ``exp`` is on the server's clock, and so must be what it is counted from:
    *now*, the date of the server's answer, else the token's own ``iat``.
    """
    end, begin = seconds_of(claims.get("exp")), seconds_of(claims.get("iat") if now is None else now)
    return None if end is None or begin is None else end - begin
