"""Reading a configuration: what it becomes, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from sipcli.cli.silent import SilentTerminal
from sipcli.config import (
    AccountConfig,
    AudioConfig,
    Config,
    ConfigProblems,
    default_config_path,
    load_config,
    parse_config,
)
from sipcli.config.example import EXAMPLE
from sipcli.config.model import DEFAULT_CREDENTIALS
from sipcli.config.schema import PROVIDER_KEYS
from sipcli.errors import ConfigError
from sipcli.media.offer import Negotiator
from sipcli.media.sdp import parse_sdp
from sipcli.plugins import load_provider
from sipcli.ua.calls.callmedia import settings_for

REPOSITORY = Path(__file__).parents[3]

MINIMAL = '[accounts.work]\naor = "sip:alice@example.com"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        parse_config(text, Path("/etc/sipcli.toml"))
    return str(caught.value).split("\n")


class TestWhatItBecomes:
    def test_an_aor_is_enough(self) -> None:
        account = parse_config(MINIMAL).accounts["work"]
        assert account.username == "alice"
        assert str(account.registrar) == "sip:example.com"
        assert account.credentials == DEFAULT_CREDENTIALS
        assert account.expires == 600
        assert account.register is True
        assert account.policy.md5_over_udp == "warn"

    def test_the_codecs_of_an_account_are_offered_in_its_order_and_no_others(self) -> None:
        text = MINIMAL + 'codecs = ["pcma", "l16", "pcmu"]\ndtmf_mode = "auto_info"\n'
        account: Any = SimpleNamespace(config=parse_config(text).accounts["work"])
        settings = settings_for(account, {}, secure=False)
        assert "dtmf_mode" not in settings, "INFO is no audio"
        negotiator = Negotiator(rtp=("192.0.2.1", 4000), session_id=1, codecs=settings["codecs"], events=False)
        formats = parse_sdp(negotiator.offer()).media[0].formats
        assert formats == ("8", "97", "0", "13")
        assert settings_for(account, {"codecs": ("PCMU",)}, secure=False)["codecs"] == ("PCMU",), "--codec outranks it"

    def test_everything_that_the_contract_names(self) -> None:
        config = parse_config(
            """
            [defaults]
            account = "work"
            [accounts.work]
            aor = "alice@example.com"
            registrar = "sbc.example.com:5061;transport=tls"
            proxy = "sip:edge.example.com;lr"
            username = "al"
            display_name = "Alice"
            transport = "tls"
            ca_file = "ca.pem"
            credentials = ["keychain", "vault", "prompt"]
            expires = 300
            register = false
            [accounts.work.realms."proxy.example.com"]
            username = "alice.trunk"
            credentials = ["vault-trunk"]
            [providers.vault]
            type = "vault"
            url = "https://vault.example.com:8200"
            path = "voip/{username}"
            auth = { method = "token", token_file = "~/t" }
            [providers.vault-trunk]
            type = "vault"
            url = "https://vault.example.com:8200"
            path = "trunk"
            auth = { method = "approle", role_id = "r" }
            [policy]
            max_wait = 60
            realms = ["example.com"]
            """,
            Path("/srv/config.toml"),
        )
        account = config.accounts["work"]
        assert config.default_account == "work"
        assert str(account.aor) == "sip:alice@example.com"
        assert str(account.registrar) == "sip:sbc.example.com:5061;transport=tls"
        assert account.proxy is not None
        assert account.proxy.has_param("lr")
        assert account.ca_file == Path("/srv/ca.pem")
        assert account.realms["proxy.example.com"].credentials == ("vault-trunk",)
        assert account.policy.max_wait == 60
        assert account.policy.realms == ("example.com",)
        options = config.providers["vault"].options
        assert config.providers["vault"].type == "vault"
        assert options["auth"]["token_file"] == str(Path("~/t").expanduser())

    def test_the_sound_cards_and_the_bell(self, tmp_path: Path) -> None:
        text = '[audio]\ninput = "C920"\noutput = "Jabra"\ntones = "uk"\nring_device = "3"\nring_file = "bell.wav"\n'
        audio = parse_config(MINIMAL + text, tmp_path / "config.toml").audio
        assert audio == AudioConfig(
            input="C920", output="Jabra", tones="uk", ring_device="3", ring_file=tmp_path / "bell.wav"
        )
        assert parse_config(MINIMAL).audio == AudioConfig()

    def test_a_policy_of_an_account_overrides_single_keys(self) -> None:
        config = parse_config(MINIMAL + "[accounts.work.policy]\nmax_prompts = 1\n[policy]\nmax_stale = 2\n")
        assert config.accounts["work"].policy.max_prompts == 1
        assert config.accounts["work"].policy.max_stale == 2
        assert config.policy.max_prompts == 3

    def test_stdin_stays_stdin(self) -> None:
        config = parse_config('[providers.pipe]\ntype = "file"\npath = "-"\n', Path("/srv/c.toml"))
        assert config.providers["pipe"].options["path"] == "-"

    def test_a_keychain_that_nobody_named_is_only_tried(self) -> None:
        assert parse_config(MINIMAL).providers["keychain"].options == {"optional": True}
        named = parse_config(MINIMAL + 'credentials = ["keychain", "prompt"]\n')
        assert "keychain" not in named.providers
        assert Config().with_account(AccountConfig.for_aor("a@b.example")).providers["keychain"].options["optional"]


class TestForAor:
    @pytest.mark.parametrize("text", ["alice@example.com", "sip:alice@example.com", " SIP:alice@example.com "])
    def test_as_people_write_it(self, text: str) -> None:
        account = AccountConfig.for_aor(text)
        assert str(account.aor) == "sip:alice@example.com"
        assert account.name == "alice@example.com"
        assert account.username == "alice"

    def test_the_transport_is_the_servers_and_not_part_of_who_we_are(self) -> None:
        account = AccountConfig.for_aor("alice@192.0.2.7:5080;transport=tcp")
        assert str(account.aor) == "sip:alice@192.0.2.7:5080"
        assert str(account.registrar) == "sip:192.0.2.7:5080;transport=tcp"

    def test_an_escaped_user_part_is_the_user_name_unescaped(self) -> None:
        assert AccountConfig.for_aor("sip:al%20ice@example.com").username == "al ice"

    @pytest.mark.parametrize("text", ["", "sip:", "example.com", "sip:example.com", "mailto:a@b", "a b@c", "sip:@x"])
    def test_what_is_none_says_how_one_looks(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            AccountConfig.for_aor(text)
        assert caught.value.hint is not None

    @pytest.mark.parametrize("text", ["sip:alice:hunter2@example.com", "sip:alice:hunter2@exa mple", "a:hunter2@b c"])
    def test_a_password_in_it_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            AccountConfig.for_aor(text)
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in str(caught.value.hint)


class TestWhatIsWrong:
    def test_a_wrong_key_names_file_table_key_and_the_nearest(self) -> None:
        [line] = problems(MINIMAL + 'regitrar = "sip:x.example"\n')
        assert (
            line
            == "/etc/sipcli.toml: [accounts.work] regitrar: is not known here \N{EN DASH} did you mean “registrar”?"
        )

    def test_a_mistyped_password_is_a_secret_and_no_aor(self) -> None:
        """A key that is near nothing is answered by the list; one that can only be a password, by where those go."""
        [line] = problems(MINIMAL + 'pasword = "hunter2"\n')
        assert "pasword: a secret does not belong in the configuration" in line
        [line] = problems(MINIMAL + 'sword = "x"\n')
        assert "known are " in line

    def test_all_mistakes_at_once(self) -> None:
        lines = problems(
            """
            surprise = 1
            [defaults]
            account = "wrok"
            [accounts.work]
            aor = "nobody"
            expires = 0
            transport = "sctp"
            credentials = ["keychian"]
            [accounts.empty]
            [accounts.work.realms.r]
            user = "x"
            [providers.v]
            type = "vault"
            mont = "secret"
            [providers.nameless]
            [policy]
            max_wait = true
            min_algorithm = "MD4"
            schemes = ["basic"]
            [audio]
            tones = "fr"
            bell = "x"
            """
        )
        wanted = [
            "surprise:", "[defaults] account:", "[accounts.work] aor:", "[accounts.work] expires:",
            "[accounts.work] transport:", "[accounts.work] credentials:", "[accounts.empty] aor: is missing",
            "[accounts.work.realms.r] user:", "[providers.v] mont:", "[providers.v] path: is missing",
            "[providers.v] url: is missing",
            "[providers.v] auth: is missing", "[providers.nameless] type: is missing", "[policy] max_wait:",
            "[policy] min_algorithm:", "[policy] schemes:", "[audio] tones: must be", "[audio] bell:",
        ]  # fmt: skip
        for place in wanted:
            assert any(place in line for line in lines), place
        assert len(lines) == len(wanted)
        assert "did you mean “keychain”?" in "".join(lines)
        assert "did you mean “mount”?" in "".join(lines)

    def test_a_syntax_error_has_its_line(self) -> None:
        [line] = problems("[accounts.work]\naor = sip:alice@example.com\n")
        assert "line 2" in line

    @pytest.mark.parametrize(
        "text",
        ["accounts = 1", "[accounts]\nwork = 1", "policy = []", "providers = 'x'", "defaults = 2", "[accounts.'']\n"],
    )
    def test_the_wrong_shape_is_said_too(self, text: str) -> None:
        assert problems(text)

    def test_a_table_name_is_written_as_toml_writes_it(self) -> None:
        [line] = problems(MINIMAL + '[accounts.work.realms."proxy.example.com"]\nnope = 1\n')
        assert '[accounts.work.realms."proxy.example.com"] nope:' in line

    def test_half_a_client_certificate(self) -> None:
        [line] = problems(MINIMAL + 'cert_file = "c.pem"\n')
        assert "go together" in line

    @pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e9", '"60"'])
    def test_numbers_are_judged(self, value: str) -> None:
        [line] = problems(f"[policy]\nmax_wait = {value}\n")
        assert "must be a number from 1 to 3600" in line

    def test_deep_nesting_is_no_traceback(self) -> None:
        assert problems("x = " + "[" * 100_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[accounts.work]\naor = "sip:a@b\n', "(at line 2, column 15) \N{EN DASH} is a quote missing"),
        (MINIMAL + MINIMAL, "each account needs a name of its own"),
        (MINIMAL + "expires = 1\nexpires = 2\n", "a key stands once"),
        (MINIMAL + "register = no\n", "a text stands in quotes"),
        (MINIMAL + "what", "(at end of document)"),
    ],
)
def test_what_is_no_toml_has_its_line_and_a_next_step(text: str, said: str) -> None:
    [problem] = problems(text)
    assert said in problem


class TestSecrets:
    @pytest.mark.parametrize(
        "line",
        [
            'password = "hunter2"',
            'Password = "hunter2"',
            'sip_password = "hunter2"',
            'secret = ["hunter2"]',
            'client_secret = "hunter2"',
            "pin = 1234",
            'registrar = "sip:alice:hunter2@example.com"',
        ],
    )
    def test_are_refused_with_the_right_places_and_never_repeated(self, line: str) -> None:
        [said] = problems(MINIMAL + line + "\n")
        assert "does not belong" in said
        assert "sipcli auth save" in said
        assert "hunter2" not in said
        assert "1234" not in said

    def test_in_a_provider_table_too(self) -> None:
        text = '[providers.v]\ntype = "vault"\nurl = "https://u:hunter2@v.example"\npath = "p"\n'
        lines = problems(text + 'auth = { method = "token", token = "hunter2" }\n')
        assert {line.split(": ")[1] for line in lines} == {"[providers.v] url", "[providers.v.auth] token"}
        assert "hunter2" not in "".join(lines)
        assert len(lines) == 2

    def test_names_that_only_sound_like_it_are_fine(self) -> None:
        text = """
            [accounts.token]
            aor = "sip:a@b.example"
            credentials = ["secret"]
            [accounts.token.realms.password]
            username = "x"
            [providers.secret]
            type = "oauth"
            client_id = "x"
            flow = "client_credentials"
            client_secret_file = "/x"
            use = "password"
            password_url = "https://x.example"
            password_field = "password"
        """
        assert parse_config(text).accounts["token"].credentials == ("secret",)


class TestTheExample:
    def test_the_file_is_what_init_writes(self) -> None:
        assert (REPOSITORY / "config.example.toml").read_text() == EXAMPLE

    def test_it_is_a_good_configuration(self) -> None:
        config = parse_config(EXAMPLE)
        assert config.default_account == "work"
        assert set(config.providers) >= {"vault", "sso", "container"}

    def test_its_comments_are_good_configuration_too(self) -> None:
        lines = []
        for line in EXAMPLE.splitlines():
            body = line.removeprefix("# ")
            is_setting = line.startswith("# ") and " = " in body and not body.startswith("sipcli")
            lines.append(body if is_setting or line.startswith("# [accounts") else line)
        config = parse_config("\n".join(lines))
        assert config.policy.min_algorithm == "SHA-256"
        assert config.accounts["work"].realms["proxy.example.com"].credentials == ("vault",)


class TestThePlace:
    @pytest.mark.parametrize("xdg", [None, "/somewhere/else"])
    def test_is_where_click_would_look(self, monkeypatch: pytest.MonkeyPatch, xdg: str | None) -> None:
        monkeypatch.setenv("HOME", "/srv/alice")
        if xdg is None:
            monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        else:
            monkeypatch.setenv("XDG_CONFIG_HOME", xdg)
        assert default_config_path() == Path(click.get_app_dir("sipcli")) / "config.toml"

    def test_no_home_is_no_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", _nobody)
        assert default_config_path({}) is None
        assert load_config(environ={}) == Config()

    def test_nothing_there_is_an_empty_configuration(self, tmp_path: Path) -> None:
        assert load_config(environ={"XDG_CONFIG_HOME": str(tmp_path)}) == Config()

    def test_a_named_file_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not exist") as caught:
            load_config(tmp_path / "missing.toml")
        assert "config init" in str(caught.value.hint)
        with pytest.raises(ConfigError, match="does not exist"):
            load_config(environ={"SIPCLI_CONFIG": str(tmp_path / "missing.toml")})

    def test_the_environment_names_one(self, tmp_path: Path) -> None:
        path = tmp_path / "c.toml"
        path.write_text(MINIMAL)
        path.chmod(0o600)
        assert load_config(environ={"SIPCLI_CONFIG": str(path)}).path == path


def _nobody(_uid: int) -> None:
    raise KeyError


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in PROVIDER_KEYS.items() for key in sorted(keys)])
def test_what_a_configuration_may_say_to_a_built_in_provider_is_what_that_one_takes(kind: str, key: str) -> None:
    """Two lists of the same keys, on both sides of an import that costs 100 ms: here they are held together."""
    try:
        load_provider(kind, {"type": kind, key: "x"}, SilentTerminal(say=lambda _: None, why="a test"))
    except ConfigError as error:
        assert f"has no key {key}" not in str(error)
