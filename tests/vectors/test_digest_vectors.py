"""The thirteen published digest vectors (RFC 2617, RFC 7616 with erratum 4897, draft-smith, libre)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import Ha1Credentials, PasswordCredentials, Secret
from sipcli.sip.authn.challenge import Challenge, split_challenges
from sipcli.sip.authn.digest import digest_header, make_ha1

VECTORS = json.loads((Path(__file__).parent / "digest_published.json").read_text(encoding="utf-8"))


def challenge_of(vector: dict[str, Any]) -> Challenge:
    return Challenge(
        scheme="digest",
        realm=vector["realm"],
        nonce=vector["nonce"],
        algorithm=vector["algorithm"] or "MD5",
        qop=(vector["qop"],) if vector["qop"] else (),
        charset="UTF-8",
        userhash="userhash" in vector,
    )


def test_A08_all_thirteen_are_here() -> None:
    assert len(VECTORS) == 13


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['source'][:30]} {v['algorithm']} {v['qop']}")
def test_A08_A09_A10_published_vector(vector: dict[str, Any]) -> None:
    credentials = PasswordCredentials(vector["username"], Secret(vector["password"]))
    challenge = challenge_of(vector)
    header = digest_header(
        challenge,
        credentials,
        vector["method"],
        vector["uri"],
        nc=int(vector["nc"], 16),
        cnonce=vector["cnonce"],
        body=vector.get("body", "").encode(),
    )
    ((scheme, params, flaw),) = split_challenges(header)
    assert (scheme, flaw) == ("Digest", "")
    assert params["response"] == vector["response"]
    if vector["qop"]:
        assert (params["nc"], params["cnonce"], params["qop"]) == (vector["nc"], vector["cnonce"], vector["qop"])
    else:
        assert not {"nc", "cnonce", "qop"} & params.keys()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['source'][:30]} {v['algorithm']} {v['qop']}")
def test_A08_a_stored_ha1_gives_the_same_answer(vector: dict[str, Any]) -> None:
    challenge = challenge_of(vector)
    ha1 = make_ha1(challenge, PasswordCredentials(vector["username"], Secret(vector["password"])))
    algorithm = challenge.algorithm.removesuffix("-sess")
    stored = Ha1Credentials(vector["username"], vector["realm"], algorithm, Secret(ha1))
    header = digest_header(
        challenge, stored, vector["method"], vector["uri"], nc=1, cnonce=vector["cnonce"],
        body=vector.get("body", "").encode(),
    )  # fmt: skip
    assert f'response="{vector["response"]}"' in header


def test_A15_the_hashed_user_name_of_rfc_7616_section_3_9_2() -> None:
    (vector,) = (v for v in VECTORS if "userhash" in v)
    credentials = PasswordCredentials(vector["username"], Secret(vector["password"]))
    header = digest_header(challenge_of(vector), credentials, "GET", vector["uri"], cnonce=vector["cnonce"])
    assert f'username="{vector["userhash"]}"' in header
    assert header.endswith("userhash=true")
    assert "Doe" not in header


def test_A08_the_misprinted_response_of_rfc_7616_is_not_ours() -> None:
    """Erratum 4897: the printed value is SHA-512 cut short, which SHA-512/256 is not."""
    (vector,) = (v for v in VECTORS if "userhash" in v)
    assert not vector["response"].startswith("ae66e67d")
