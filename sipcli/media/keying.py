"""Who has which keys for the audio, by offer and answer: SDES (RFC 4568), DTLS-SRTP (RFC 5763), or none.

A policy, what we offered, and what follows from the other side's media line. What is not in here can encrypt nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from sipcli.errors import MediaFailed
from sipcli.media import dtls
from sipcli.media.agreement import Address, Agreement
from sipcli.media.dtls import DtlsIdentity
from sipcli.media.fingerprint import DtlsTerms, PeerDtls, find_dtls
from sipcli.media.sdes import Crypto, KeyPolicy, SrtpKeys, SrtpPolicy, find_chosen, find_crypto, new_cryptos
from sipcli.media.sdp import Attribute, MediaDescription, SessionDescription

__all__ = ["PROTOCOLS", "Keying", "Keys"]

Keys: TypeAlias = SrtpKeys | DtlsTerms | None

_PLAIN = ("RTP/AVP", "RTP/AVPF")
_SECURE = ("RTP/SAVP", "RTP/SAVPF")
_DTLS = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
PROTOCOLS = _PLAIN + _SECURE + _DTLS
"""What a media line of ours, or one that we take, may speak."""


class Keying:
    """*secure*: the signalling is over TLS.  Without it no key of ours is written into an SDP (RFC 4568 section 7)."""

    def __init__(self, policy: SrtpPolicy, keys: KeyPolicy, *, secure: bool, random: Callable[[int], bytes]) -> None:
        self._policy = policy
        self._random = random
        self._readable = policy != "off" and keys != "dtls" and not secure
        self._sdes = policy != "off" and keys != "dtls" and secure
        self._dtls = policy != "off" and keys != "sdes" and not dtls.missing()
        self._asks_for_dtls = self._dtls and keys == "dtls"
        self._cryptos: tuple[Crypto, ...] = new_cryptos(random) if self._sdes else ()
        self._identity: DtlsIdentity | None = None
        self._tls_id = ""
        self._protocol: str | None = None

    @property
    def identity(self) -> DtlsIdentity:
        """Our certificate: a new one for every session, so that no two calls can be told to be one person's."""
        if self._identity is None:
            self._identity = DtlsIdentity.generate()
        return self._identity

    # -- our side asks ------------------------------------------------------

    def offered(self, before: Agreement | None) -> tuple[str, list[Attribute]]:
        """The protocol of our media line, and what it says of keys.

        ``optional`` is a plain line that also has keys (RFC 8643): who knows them takes them, who does not is not lost.
        """
        by_dtls = self._asks_for_dtls if before is None or not _keys_of(before) else before.dtls is not None
        protocol = self._protocol or (_PLAIN[0] if self._policy != "required" else _DTLS[0] if by_dtls else _SECURE[0])
        if by_dtls:
            return protocol, self._dtls_lines("actpass", tls_id=True)
        return protocol, [crypto.attribute() for crypto in self._cryptos]

    def chosen(
        self,
        description: SessionDescription,
        media: MediaDescription,
        *,
        offered: MediaDescription,
        remote: Address | None,
        before: Agreement | None,
    ) -> Keys:
        """What an answer makes of it.  What was promised, or held before, is never left in silence."""
        peer = find_dtls(description, media) if offered.has("fingerprint") else None
        keys: Keys = None
        if peer is not None and peer.setup != "actpass":
            keys = self._terms("server" if peer.setup == "active" else "client", peer, remote, before)
        elif (chosen := find_chosen(media, self._cryptos)) is not None:
            keys = SrtpKeys(chosen[0].suite, chosen[0].master, chosen[1].master)
        elif self._must(media, before):
            raise MediaFailed(self._unmet((media,)), code=488, reason="Not Acceptable Here")
        self._protocol = media.protocol if keys is not None else None
        return keys

    # -- the peer asks ------------------------------------------------------

    def takes(self, description: SessionDescription, media: MediaDescription, before: Agreement | None) -> bool:
        """Can we do what an offered line asks for, and does it offer what we must have?"""
        return media.protocol in PROTOCOLS and (self.encrypts(description, media) or not self._must(media, before))

    def encrypts(self, description: SessionDescription, media: MediaDescription) -> bool:
        """An offered line that we would take with keys."""
        return self._peer_of(description, media) is not None or self._crypto_of(media) is not None

    def objection(self, description: SessionDescription) -> str:
        """Why none of *description*'s lines would do; empty if keys are not the reason."""
        lines = [media for media in description.media if media.kind == "audio" and not media.rejected]
        if any(media.protocol in _DTLS for media in lines) and not self._dtls:
            why = f"which takes {dtls.missing()}" if dtls.missing() else "which is switched off here"
            return f"the peer's audio needs DTLS-SRTP, {why}"
        if self._policy == "required" and not any(self.encrypts(description, media) for media in lines):
            return self._unmet(lines)
        if lines and all(media.protocol in _SECURE and not self.encrypts(description, media) for media in lines):
            return self._unusable()
        return ""

    def _unusable(self) -> str:
        """Why lines that are nothing without the keys in them are nothing to us."""
        if self._readable:
            return "the peer's SRTP keys came over signalling that others can read, so they protect nothing: use TLS"
        if not self._sdes:
            return "the peer's audio needs SRTP with keys in the SDP, which is switched off here"
        return "none of the peer's SRTP keys can be used (length, suite or tag)"

    def _unmet(self, lines: Sequence[MediaDescription]) -> str:
        """Why *lines* of the peer do not encrypt, where we insist on it."""
        if self._sdes and any(media.has("crypto") for media in lines):
            return "none of the peer's SRTP keys can be used (length, suite or tag), and we insist on encrypted audio"
        return "the peer does not encrypt the audio, and we insist on it"

    def answered(
        self,
        description: SessionDescription,
        media: MediaDescription,
        *,
        remote: Address | None,
        before: Agreement | None,
    ) -> tuple[Keys, list[Attribute]]:
        """What an offered line that :meth:`takes` comes to, and what our answer says of it."""
        keys: Keys = None
        lines: list[Attribute] = []
        peer, crypto = self._peer_of(description, media), self._crypto_of(media)
        if peer is not None:
            keys = self._terms(self._role(peer, before), peer, remote, before, renew=True)
            lines = self._dtls_lines("active" if keys.role == "client" else "passive", tls_id=peer.tls_id is not None)
        elif crypto is not None:
            keys = self._sdes_keys(crypto, before)
            lines = [Crypto(crypto.tag, crypto.suite, keys.ours).attribute()]
        self._protocol = media.protocol if keys is not None else None
        return keys, lines

    def _peer_of(self, description: SessionDescription, media: MediaDescription) -> PeerDtls | None:
        return find_dtls(description, media) if self._dtls else None

    def _crypto_of(self, media: MediaDescription) -> Crypto | None:
        return find_crypto(media) if self._sdes and media.protocol not in _DTLS else None

    def _sdes_keys(self, theirs: Crypto, before: Agreement | None) -> SrtpKeys:
        """In a later exchange with the key that we have been using (RFC 4568 section 7.1.4)."""
        used = None if before is None else before.srtp
        ours = used.ours if used is not None and used.suite == theirs.suite else self._random(len(theirs.master))
        return SrtpKeys(theirs.suite, ours, theirs.master)

    # -- both ---------------------------------------------------------------

    def _must(self, media: MediaDescription, before: Agreement | None) -> bool:
        return (
            self._policy == "required"
            or media.protocol not in _PLAIN
            or (before is not None and _keys_of(before) is not None)
        )

    def _dtls_lines(self, setup: str, *, tls_id: bool) -> list[Attribute]:
        lines = [self.identity.fingerprint.attribute(), Attribute("setup", setup)]
        return [*lines, Attribute("tls-id", self._own_id())] if tls_id else lines

    def _own_id(self) -> str:
        if not self._tls_id:
            # RFC 8842 section 4: at least 120 random bits.
            self._tls_id = base64.urlsafe_b64encode(self._random(18)).decode()
        return self._tls_id

    @staticmethod
    def _role(peer: PeerDtls, before: Agreement | None) -> Literal["client", "server"]:
        """Active unless the offer is (RFC 5763 section 5); a peer that leaves it open keeps the role that it has."""
        if peer.setup == "actpass":
            return before.dtls.role if before is not None and before.dtls is not None else "client"
        # RFC 4145 section 4: an offer that does not say is an active one.
        return "client" if peer.setup == "passive" else "server"

    def _terms(
        self,
        role: Literal["client", "server"],
        peer: PeerDtls,
        remote: Address | None,
        before: Agreement | None,
        *,
        renew: bool = False,
    ) -> DtlsTerms:
        """*renew*: if it is another association than before, it gets an id of its own (RFC 8842 section 5.3)."""
        last = None if before is None else before.dtls
        place = None
        if peer.tls_id is None:
            # RFC 8842 section 4: somebody without tls-id who moves wants a new one.  Who holds by 0.0.0.0 does not.
            place = remote or (None if last is None else last.place)
        terms = DtlsTerms(role, peer.fingerprints, (self._own_id(), peer.tls_id), place)
        if renew and last is not None and terms != last:
            self._tls_id = ""
            terms = DtlsTerms(role, peer.fingerprints, (self._own_id(), peer.tls_id), place)
        return terms


def _keys_of(agreement: Agreement) -> Keys:
    return agreement.dtls or agreement.srtp
