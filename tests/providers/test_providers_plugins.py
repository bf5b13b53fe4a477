"""Which provider is loaded, when, and what happens to one that is broken (T16)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sipcli import plugins
from sipcli.config.schema import PROVIDER_KEYS
from sipcli.credentials import Describes, Forgets, PasswordCredentials, Remembers, Secret, Unavailable
from sipcli.errors import ConfigError
from sipcli.plugins import BUILTIN, BrokenProvider, describe, load_provider, make_provider, where
from sipcli.testing import FakeTerminal, make_request

ROOT = Path(__file__).parents[2]

PLUGIN = """
from pathlib import Path
Path(__file__).with_name("loaded").touch()

class Good:
    interactive = False
    def __init__(self, context):
        self.name = context.name
        self.options = dict(context.options)
    def get(self, request):
        raise LookupError

def strict(context):
    raise ValueError(f"[providers.{context.name}] needs colour")

def buggy(context):
    raise ZeroDivisionError("hunter2-canary")

def nothing(context):
    return object()
"""

ENTRY_POINTS = """[sipcli.providers]
good = {module}:Good
strict = {module}:strict
buggy = {module}:buggy
nothing = {module}:nothing
gone = no_such_module_anywhere:Gone
half = {module}:NoSuchName
vault = {module}:Good
"""


def install(folder: Path, name: str) -> Path:
    """A distribution as pip would leave it."""
    module = f"{name}_provider"
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(PLUGIN)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS.format(module=module))
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed third-party distribution with good and bad providers."""
    folder = install(tmp_path / "site", "elsewhere")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("elsewhere_provider", None)


def in_python(code: str, *path: Path) -> str:
    places = [str(place) for place in (ROOT, ROOT / "providers", *path)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {places!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestLoading:
    def test_the_table_is_what_the_wheel_registers(self) -> None:
        registered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["sipcli.providers"]
        assert dict(BUILTIN) == registered

    @pytest.mark.parametrize(
        ("module", "forbidden"),
        [
            ("sipcli.plugins", ("keyring", "hvac", "requests", "oauthlib", "importlib.metadata", "asyncio", "ssl")),
            ("sipcli.credentials", ("asyncio", "ssl", "socket", "sipcli.errors")),
            ("sipcli.testing", ("pytest", "keyring", "hvac", "requests", "sipcli.sandbox", "sipcli.ua")),
            ("sipcli_providers.env", ("keyring", "hvac", "requests", "oauthlib", "ssl")),
            ("sipcli_providers.file", ("keyring", "hvac", "requests", "oauthlib", "ssl")),
            ("sipcli_providers.prompt", ("keyring", "hvac", "requests", "oauthlib", "ssl")),
            ("sipcli_providers.exec", ("keyring", "hvac", "requests", "oauthlib", "ssl", "asyncio")),
            ("sipcli_providers.systemd", ("keyring", "hvac", "requests", "oauthlib", "ssl", "subprocess")),
            ("sipcli_providers.sim", ("keyring", "hvac", "requests", "oauthlib", "ssl", "cryptography")),
            ("sipcli_providers.keychain", ("hvac", "requests", "oauthlib")),
            ("sipcli_providers.vault", ("keyring", "oauthlib", "requests_oauthlib")),
            ("sipcli_providers.oauth", ("keyring", "hvac")),
        ],
    )
    def test_nothing_is_imported_before_it_is_needed(self, module: str, forbidden: tuple[str, ...]) -> None:
        loaded = json.loads(in_python(f"import json, {module}; print(json.dumps(list(sys.modules)))"))
        assert not set(forbidden) & set(loaded)

    def test_the_name_is_the_type_unless_it_says_otherwise(self) -> None:
        assert make_provider("prompt", {}, FakeTerminal()).name == "prompt"
        renamed = make_provider("ask-me", {"type": "prompt", "required": True}, FakeTerminal())
        assert (renamed.name, type(renamed).__name__) == ("ask-me", "PromptProvider")

    def test_an_unknown_type_names_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match=r'\[providers\.v\] type "valt" is not known; did you mean "vault"\?'):
            load_provider("v", {"type": "valt"}, FakeTerminal())
        with pytest.raises(
            ConfigError, match="there are askpass, env, exec, file, keychain, oauth, prompt, sim, systemd, vault"
        ):
            load_provider("v", {"type": "qqqqqq"}, FakeTerminal())

    def test_wrong_options_are_the_factorys_sentence(self) -> None:
        with pytest.raises(ConfigError, match=r"^\[providers\.x\] needs variable"):
            load_provider("x", {"type": "env"}, FakeTerminal())


class TestThirdParties:
    def test_T16_one_is_loaded_when_it_is_named(self, elsewhere: Path) -> None:
        assert not (elsewhere / "loaded").exists()
        provider: Any = load_provider("mine", {"type": "good", "colour": "red"}, FakeTerminal())
        assert (provider.name, provider.options) == ("mine", {"colour": "red"})
        assert (elsewhere / "loaded").exists()

    def test_T16_none_is_loaded_for_looking_around(self, elsewhere: Path) -> None:
        listed = {info.type: info for info in describe()}
        assert listed["good"].distribution == "elsewhere 1.2"
        assert listed["good"].builtin is False
        make_provider("prompt", {}, FakeTerminal())
        assert not (elsewhere / "loaded").exists()

    def test_T16_nobody_takes_a_built_in_name(self, elsewhere: Path) -> None:
        options = {"url": "https://v.test", "path": "x", "auth": {"method": "token", "token_file": "/t"}}
        assert type(load_provider("vault", options, FakeTerminal())).__module__ == "sipcli_providers.vault"
        assert [info.builtin for info in describe() if info.type == "vault"] == [True]
        assert not (elsewhere / "loaded").exists()

    @pytest.mark.parametrize(
        ("kind", "says"),
        [
            ("strict", r"^\[providers\.p\] needs colour$"),
            ("buggy", "of elsewhere 1.2 failed to start: ZeroDivisionError"),
            ("nothing", "is no credential provider"),
            ("gone", r"cannot be imported .*reinstall elsewhere 1\.2"),
            ("half", "failed to start: AttributeError"),
        ],
    )
    def test_a_broken_one_stands_aside_and_says_why(self, elsewhere: Path, kind: str, says: str) -> None:
        provider = make_provider("p", {"type": kind}, FakeTerminal())
        assert isinstance(provider, BrokenProvider)
        assert re.search(says, provider.problem)
        assert "canary" not in provider.problem
        assert where(provider) == provider.problem
        with pytest.raises(Unavailable) as caught:
            provider.get(make_request())
        assert str(caught.value) == provider.problem
        assert caught.value.retry_after == 3600.0, "asking again would change nothing"

    def test_two_that_offer_the_same_are_not_guessed_between(
        self, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(install(tmp_path / "other", "another")))
        with pytest.raises(ConfigError, match=r"offered by another 1\.2 and elsewhere 1\.2: uninstall one"):
            load_provider("mine", {"type": "good"}, FakeTerminal())
        problems = {info.distribution: info.problem for info in describe() if info.type == "good"}
        assert problems["elsewhere 1.2"] == "another 1.2 offers the same type: uninstall one"

    def test_where_names_the_module_of_one_that_does_not_describe_itself(self, elsewhere: Path) -> None:
        assert where(load_provider("mine", {"type": "good"}, FakeTerminal())) == "elsewhere_provider"


class TestBuiltIns:
    MINIMAL: dict[str, dict[str, Any]] = {
        "askpass": {},
        "env": {"variable": "X"},
        "exec": {"command": "/bin/helper"},
        "file": {"path": "/x"},
        "keychain": {},
        "oauth": {"issuer": "https://a.test", "client_id": "c", "flow": "device"},
        "prompt": {},
        "sim": {"k_file": "/k", "opc_file": "/o", "sqn_file": "/s"},
        "systemd": {"credential": "sip"},
        "vault": {"url": "https://v.test", "path": "x", "auth": {"method": "token", "token_file": "/t"}},
    }

    @pytest.mark.parametrize("kind", sorted(BUILTIN))
    def test_the_configurations_table_of_keys_is_the_providers(self, kind: str) -> None:
        """`config check` knows the keys without importing a provider; both must know the same."""
        with pytest.raises(ConfigError) as caught:
            load_provider(kind, self.MINIMAL[kind] | {"qqqqqqqq": 1}, FakeTerminal())
        known = str(caught.value).partition("it knows ")[2]
        assert set(filter(None, known.split(", "))) == PROVIDER_KEYS[kind]

    @pytest.mark.parametrize("kind", sorted(BUILTIN))
    def test_each_key_is_in_the_manual(self, kind: str) -> None:
        page = (ROOT / "docs" / "providers" / f"{kind}.md").read_text()
        assert not [key for key in PROVIDER_KEYS[kind] if f"`{key}`" not in page]

    @pytest.mark.parametrize("kind", sorted(BUILTIN))
    def test_each_describes_itself_in_one_line(self, kind: str) -> None:
        provider = load_provider(kind, self.MINIMAL[kind], FakeTerminal())
        assert isinstance(provider, Describes)
        assert where(provider).isprintable()
        assert where(provider)

    def test_who_remembers_and_forgets(self) -> None:
        able = {
            kind: (isinstance(made, Remembers), isinstance(made, Forgets))
            for kind in BUILTIN
            for made in [load_provider(kind, self.MINIMAL[kind], FakeTerminal())]
        }
        neither = (False, False)
        assert able == {
            "askpass": neither, "env": neither, "exec": (True, True), "file": neither, "keychain": (True, True),
            "oauth": (False, True), "prompt": neither, "sim": neither, "systemd": neither,
            "vault": (False, True),  # the copy that use_stale keeps
        }  # fmt: skip

    def test_only_prompt_and_askpass_ask_a_person(self) -> None:
        asks = {kind for kind in BUILTIN if load_provider(kind, self.MINIMAL[kind], FakeTerminal()).interactive}
        assert asks == {"askpass", "prompt"}

    def test_the_sandbox_is_the_registrar_for_tests(self) -> None:
        code = "import sipcli.testing as t; b = 'sipcli.sandbox' in sys.modules; print(b, t.Registrar.__name__)"
        assert in_python(code) == "False Sandbox"

    def test_a_name_that_is_not_there(self) -> None:
        import sipcli.testing

        with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
            _ = sipcli.testing.Nonsense

    def test_group(self) -> None:
        assert plugins.GROUP == "sipcli.providers"
        assert PasswordCredentials("a", Secret("b")).scheme == "digest"


@pytest.mark.parametrize("error", [ValueError("canary-5e1f"), KeyError("canary-5e1f"), OSError(5, "canary-5e1f")])
def test_T14_a_provider_that_cannot_say_where_it_looks_is_one_line_without_its_words(error: Exception) -> None:
    """Found by raising at every hook: ``providers list`` ended as a bug of ours.  Its words may quote a secret."""

    class Tongueless:
        name, interactive = "odd", False

        def get(self, request: object) -> object:
            raise AssertionError

        def describe(self) -> str:
            raise error

    said = where(Tongueless())  # type: ignore[arg-type]
    assert type(error).__name__ in said and __name__.rpartition(".")[2] in said
    assert "canary" not in said
