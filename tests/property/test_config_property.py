"""Whatever a configuration says: a Config, or ConfigProblems whose text shows no secret."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sipcli.config import Config, ConfigProblems, parse_config
from sipcli.config.load import dotted, near
from sipcli.config.secrets import find_secrets

KEYS = st.one_of(
    st.sampled_from(
        ["defaults", "accounts", "providers", "policy", "account", "aor", "registrar", "credentials", "realms", "type",
         "url", "path", "auth", "password", "token", "max_wait", "expires", "username", "required", "work"]
    ),
    st.text(max_size=8),
)  # fmt: skip
LEAVES = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from(["sip:a@b.example", "vault", "udp"]),
)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)),
    max_size=5,
)


def toml(value: Any) -> str:
    """Enough of a writer for what the strategies make."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(_escaped(c) for c in value) + '"'
        case int():
            return str(value)
        case float():
            return repr(value)
        case list():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case _:
            return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"


def _escaped(character: str) -> str:
    return character if character.isascii() and character.isalnum() else f"\\U{ord(character):08X}"


@given(DOCUMENTS)
def test_any_document_is_a_configuration_or_a_list_of_problems(document: dict[str, Any]) -> None:
    text = "\n".join(f"{toml(key)} = {toml(value)}" for key, value in document.items())
    try:
        assert isinstance(parse_config(text), Config)
    except ConfigProblems as error:
        assert error.problems
        assert all(str(problem).strip() for problem in error.problems)


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    try:
        parse_config(text)
    except ConfigProblems as error:
        assert error.problems


@given(
    st.sampled_from(["password", "client_secret", "api_key", "PIN", "sip-token"]),
    st.sampled_from(["accounts", "providers"]),
)
def test_no_secret_is_ever_repeated(key: str, kind: str) -> None:
    canary = "canary-5e0f"
    try:
        parse_config(f'[{kind}.x]\ntype = "custom"\naor = "sip:a@b.example"\n"{key}" = "{canary}"\n')
    except ConfigProblems as error:
        assert canary not in str(error)
        assert canary not in repr(error)
    else:
        raise AssertionError("it was accepted")


@given(DOCUMENTS)
def test_a_secret_is_found_however_deep(document: dict[str, Any]) -> None:
    nested: dict[str, Any] = {"a": [{"b": document}], "deep": {"x": {"password": "p"}}}
    assert (("deep", "x", "password"), "a secret does not belong in the configuration") in list(find_secrets(nested))


@given(st.text(max_size=10), st.sets(st.text(max_size=6), max_size=5))
def test_near_and_dotted_never_stumble(word: str, names: set[str]) -> None:
    said = near(word, names)
    assert (said is None) == (not names)
    assert "\n" not in dotted(("accounts", word))
