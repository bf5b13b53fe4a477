"""A call that somebody behind our own server answers 3xx: where it goes, who is heard there, what never goes along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import wavs
from tests.support.cli import Cli, Result
from tests.support.pty import ended, terminal
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.sipp import SippCallee
from tests.support.table import Table

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.real("sipp"), pytest.mark.xdist_group("kamailio")]


class Phones:
    """SIPps that Kamailio knows as somebody's telephone."""

    def __init__(self, place: Path, server: Kamailio) -> None:
        self._place = place
        self._server = server
        self._running: dict[str, SippCallee] = {}

    def add(self, user: str, scenario: str, **keys: str) -> SippCallee:
        phone = SippCallee(self._place / f"sipp-{user}", scenario, keys=keys)
        self._running[user] = phone
        self._server.bind(user, f"sip:{user}@127.0.0.1:{phone.port}")
        return phone

    def moved(self, user: str, *contacts: str) -> SippCallee:
        """One that sends every caller on."""
        return self.add(user, "uas_300", contacts="\n".join(f"Contact: {contact}" for contact in contacts))

    def all_went_well(self) -> None:
        for user, phone in self._running.items():
            assert phone.result() == 0, f"{user}: {phone.why()}"

    def stop(self) -> None:
        for phone in self._running.values():
            phone.stop()


@pytest.fixture
def table(tmp_path: Path, kamailio: Kamailio) -> Iterator[Table]:
    made = Table(tmp_path, kamailio)
    yield made
    made.clear()


@pytest.fixture
def phones(tmp_path: Path, kamailio: Kamailio) -> Iterator[Phones]:
    require("sipp")
    made = Phones(tmp_path, kamailio)
    yield made
    made.stop()


@pytest.fixture
def alice(table: Table) -> Cli:
    return table.person("alice")


WORDS = ("call", "sip:bob@sip.test", "--no-register", "--codec", "pcmu")


def redirections(done: Result) -> list[tuple[str, str]]:
    """Where each one led, and what became of it."""
    return [(event["target"], event["state"]) for event in done.named("transfer")]


def test_T22_a_302_is_refused_with_the_way_to_follow_it(alice: Cli, phones: Phones) -> None:
    """Fails when the policy ``refuse`` is not the default, or the sentence names no next step."""
    phones.add("bob", "uas_302", contact="sip:carol@sip.test")
    done = alice.run(*WORDS)
    assert done.code != 0
    assert "302" in done.stderr and "--redirect ask" in done.stderr, done.stderr
    phones.all_went_well()


def test_a_302_of_our_domain_is_followed_and_heard(alice: Cli, phones: Phones, tmp_path: Path) -> None:
    phones.add("bob", "uas_302", contact="sip:carol@sip.test")
    phones.add("carol", "uas_answer")
    record = tmp_path / "rx.wav"
    sound = ("--audio", "tone:600", "--record", str(record), "--duration", "2")
    done = alice.run(*WORDS, "--json", "--redirect", "same-domain", *sound)
    assert done.code == 0, done.stdout
    assert redirections(done) == [("sip:carol@sip.test", "trying")]
    phones.all_went_well()
    wavs.assert_tone(record, 600, seconds=1.0)


@pytest.mark.parametrize("key", ["y", "n"])
def test_T22_a_person_is_asked_and_his_key_decides(alice: Cli, phones: Phones, tmp_path: Path, key: str) -> None:
    """Fails when a redirection is followed before anybody said so: the second telephone rings with ``y`` alone."""
    phones.add("bob", "uas_302", contact="sip:carol@sip.test")
    record = tmp_path / "rx.wav"
    if key == "y":
        phones.add("carol", "uas_answer")
    sound = ("--audio", "tone:600", "--record", str(record), "--duration", "2")
    with terminal(alice, *WORDS, "--redirect", "ask", *sound) as child:
        child.expect_exact("they send us to sip:carol@sip.test")
        child.expect_exact("[y]es  [n]o")
        child.send(key)
        child.expect_exact("following to sip:carol@sip.test" if key == "y" else "and we do not go")
        status, said = ended(child)
    assert (status == 0) == (key == "y"), said
    phones.all_went_well()
    if key == "y":
        wavs.assert_tone(record, 600, seconds=1.0)
    else:
        assert "302" in said


@pytest.mark.parametrize(
    ("contacts", "told"),
    [
        (
            ("<sip:dave@sip.test>;q=0.3", "<sip:carol@sip.test>;q=0.8", "<tel:+4990012345678>;q=0.9"),
            [("sip:carol@sip.test", "trying")],
        ),
        # Back to ourselves nobody goes, whatever the policy: the next dearest is looked at instead.
        (
            ("<sip:carol@sip.test>;q=0.5", "<sip:alice@sip.test>;q=1.0", "<sip:dave@sip.test>;q=0.4"),
            [("sip:carol@sip.test", "trying")],
        ),
        # The dearest is not of our domain: no second one is tried in its place.
        (
            ("<sip:carol@sip.test>;q=0.5", "<sip:mallory@elsewhere.test>"),
            [("sip:mallory@elsewhere.test", "refused")],
        ),
    ],
)
def test_T22_of_several_contacts_the_dearest_is_called(
    alice: Cli, phones: Phones, contacts: tuple[str, ...], told: list[tuple[str, str]]
) -> None:
    """Fails when ``redirected_to`` leaves the contacts in the order of the message."""
    phones.moved("bob", *contacts)
    goes = told[0][1] == "trying"
    if goes:
        phones.add("carol", "uas_answer")
    done = alice.run(*WORDS, "--json", "--redirect", "same-domain", "--duration", "0.5")
    assert redirections(done) == told
    assert (done.code == 0) == goes, done.stdout
    phones.all_went_well()


@pytest.mark.parametrize("policy", ["same-domain", "ask"])
def test_T22_a_circle_of_302s_ends_with_a_sentence(alice: Cli, phones: Phones, policy: str) -> None:
    """bob is at carol's, and carol at bob's.  Fails without ``looped`` in on_redirected, where the person says yes."""
    phones.add("bob", "uas_302", contact="sip:carol@sip.test")
    phones.add("carol", "uas_302", contact="sip:bob@sip.test")
    with terminal(alice, *WORDS, "--redirect", policy) as child:
        if policy == "ask":
            child.expect_exact("[y]es  [n]o")
            child.send("y")
        child.expect_exact("following to sip:carol@sip.test")
        child.expect_exact("they sent us to sip:bob@sip.test, and we do not go (the call was there before)")
        status, said = ended(child)
    assert status != 0 and "302" in said, said
    phones.all_went_well()


STRANGE = 'WWW-Authenticate: Digest realm="{realm}", nonce="5eed", algorithm=MD5, qop="auth"'
CHALLENGES = {
    "its own realm": ("401 Unauthorized", STRANGE.format(realm="elsewhere.test")),
    "our realm": ("401 Unauthorized", STRANGE.format(realm="sip.test")),
    "as a proxy": (
        "407 Proxy Authentication Required",
        STRANGE.format(realm="elsewhere.test").replace("WWW-Authenticate", "Proxy-Authenticate"),
    ),
}


@contextmanager
def without_a_proxy(alice: Cli, server: Kamailio) -> Iterator[None]:
    """Her account finds its own server by the registrar, and goes to everybody else by itself."""
    path = alice.home / ".config" / "sipcli" / "config.toml"
    before = path.read_text()
    lines = [line for line in before.splitlines() if not line.startswith("proxy = ")]
    path.write_text("\n".join(lines).replace('"sip:sip.test"', f'"sip:{server.address()}"') + "\n")
    yield
    path.write_text(before)


@pytest.mark.parametrize("asks", CHALLENGES)
@pytest.mark.parametrize("way", ["directly", "through our proxy"])
def test_T22_a_stranger_we_are_sent_to_asks_for_a_secret_in_vain(
    alice: Cli, phones: Phones, kamailio: Kamailio, way: str, asks: str
) -> None:
    """The person agrees to go there.  SIPp wants an INVITE without any proof, and none after its challenge.

    Fails without ``_standing`` in sent_on (through our proxy); directly, without that and the look at the address in
    ``HomeGround.judge``: either is enough.
    """
    status, ask = CHALLENGES[asks]
    before = len(kamailio.verdicts())
    stranger = phones.add("mallory", "uas_greedy", status=status, ask=ask)
    where = f"sip:mallory@127.0.0.1:{stranger.port}"
    phones.add("bob", "uas_302", contact=where)

    def go() -> tuple[int | None, str]:
        with terminal(alice, *WORDS, "--redirect", "ask") as child:
            child.expect_exact(f"they send us to {where}")
            child.expect_exact("[y]es  [n]o")
            child.send("y")
            child.expect_exact(f"following to {where}")
            return ended(child)

    if way == "directly":
        with without_a_proxy(alice, kamailio):
            code, said = go()
    else:
        code, said = go()
    assert code not in (0, None), said
    phones.all_went_well()
    assert any(line.endswith("verdict=1") for line in kamailio.verdicts()[before:]), "our own server was answered"
