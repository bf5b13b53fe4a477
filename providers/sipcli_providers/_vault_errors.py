"""What a failing Vault means, as one of our errors with one sentence and the next step.

===================================== =============== ==========================================
403 to the secret                     Denied          the token lacks a policy
400, 403 to a login                   Denied          the role, the secret id, the password
404, deleted, no such field           NotFound        -
sealed, not initialised               Unavailable     somebody has to unseal it
a standby that passes nothing on      Unavailable     name the active node
429                                   Unavailable     after its ``Retry-After``
any other 5xx                         Unavailable     later
unreachable, too slow, too large      Unavailable     later
an untrusted certificate, a redirect  Unavailable     not soon: the configuration is wrong
no Vault at all                       Unavailable     not soon
===================================== =============== ==========================================

Sealed, standby and busy look alike in the answer to a read.  ``/v1/sys/health``
tells them apart; it wants no token, and gets none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hvac.exceptions
import requests

from sipcli.credentials import Denied, NotFound, ProviderError, Unavailable
from sipcli_providers import _http

_NO_VAULT = (KeyError, TypeError, ValueError, AttributeError)


class Explainer:
    """Explains what went wrong at the Vault at *url*; may ask it for its health over *session*."""

    def __init__(self, url: str, session: requests.Session, method: str, file: Path | None = None) -> None:
        """*file* is what the *method* logs in with, and would be replaced if it is too old."""
        self._url = url
        self._session = session
        self._method = method
        self._file = file
        self._what = f"Vault at {_http.host_of(url)}"

    def login(self, error: Exception) -> ProviderError:
        """*error* came out of a login or a renewal."""
        if isinstance(error, hvac.exceptions.InvalidRequest | hvac.exceptions.Forbidden | hvac.exceptions.Unauthorized):
            status = 400 if isinstance(error, hvac.exceptions.InvalidRequest) else 403
            return Denied(
                f"Vault refuses the {self._method} login ({status}): look at the role and at the secret's age",
                file=self._file,
            )
        return self._any(error)

    def read(self, error: Exception, where: str, rule: str) -> ProviderError:
        """*error* came out of reading *where*; *rule* is the path that a policy would have to name."""
        if isinstance(error, hvac.exceptions.InvalidPath):
            return NotFound(f"Vault has no secret at {where}")
        if isinstance(error, hvac.exceptions.Forbidden | hvac.exceptions.Unauthorized):
            return Denied(f"Vault refuses {where} (403): the {self._method} token needs a policy with read on {rule}")
        return self._any(error)

    def _any(self, error: Exception) -> ProviderError:
        match error:
            case _http.BadStatus():
                return self._told_apart(error)
            case ProviderError():
                return error
            case requests.RequestException():
                return _http.explain(error, "Vault", self._url)
            case hvac.exceptions.VaultError():
                return self._told_apart(
                    Unavailable(f"{self._what} failed ({type(error).__name__}): try `bao status` or `vault status`")
                )
            case _ if isinstance(error, _NO_VAULT):
                return Unavailable(
                    f"what answers at {_http.host_of(self._url)} does not speak like Vault: look at url and namespace",
                    retry_after=_http.NOT_SOON,
                )
        raise error

    def _told_apart(self, error: Unavailable) -> Unavailable:
        """*error* with the reason that the server's health gives for it, if it gives one."""
        health = self._health()
        status = error.status if isinstance(error, _http.BadStatus) else 0
        if health.get("initialized") is False:
            return Unavailable(f"{self._what} is not initialised: `bao operator init`", retry_after=_http.NOT_SOON)
        if health.get("sealed") is True:
            # No Retry-After makes somebody come and unseal it: a person's pace, not the chain's.
            return Unavailable(f"{self._what} is sealed: somebody has to unseal it (`bao operator unseal`)")
        if health.get("replication_dr_mode") == "secondary":
            return Unavailable(
                f"{self._what} is a disaster recovery standby: name the active cluster in url",
                retry_after=_http.NOT_SOON,
            )
        if status == 429:
            return Unavailable(f"{self._what} asks for a slower pace (429)", retry_after=error.retry_after)
        if health.get("standby") is True or health.get("performance_standby") is True:
            return Unavailable(
                f"{self._what} is a standby that passes nothing on: name the active node in url",
                retry_after=_http.NOT_SOON if 300 <= status < 400 else error.retry_after,
            )
        return error

    def _health(self) -> Mapping[str, Any]:
        """What Vault says of itself: 200 active, 429 standby, 472 and 473 secondaries, 501 new, 503 sealed."""
        try:
            answer = self._session.get(f"{self._url.rstrip('/')}/v1/sys/health").json()
        except _http.BadStatus as error:
            return error.answer
        except (requests.RequestException, ProviderError, ValueError):
            return {}
        return answer if isinstance(answer, Mapping) else {}
