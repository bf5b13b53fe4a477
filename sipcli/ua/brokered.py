"""The account that the configuration makes: the agent's broker answers its challenges, from the chain of providers."""

from __future__ import annotations

from sipcli.sip.auth import Challenged, GiveUp
from sipcli.sip.authn.policy import new_realm
from sipcli.ua.account import Account
from sipcli.ua.auth.ask import Ask
from sipcli.ua.auth.chain import ChainFailure
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from sipcli.ua.auth.terms import for_person

__all__ = ["BrokeredAccount"]

REFRESH_MARGIN = 32.0
"""A refresh waits for a secret until this long before the binding expires: one whole transaction (Timer F)."""


class BrokeredAccount(Account):
    """An account whose challenges the agent's broker answers, from the chain of providers in the configuration."""

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        """Credentials given in the program come first; when they do not fit, or were refused, the chain is asked."""
        known = not self._strange_realms(challenge)
        if self.auth.credentials and not challenge.rejected and challenge.fits() and known:
            return
        self.undecided(challenge.defer())

    def undecided(self, deferred: DeferredChallenge) -> None:
        self.agent.broker.submit(self._ask(deferred))

    def _strange_realms(self, asked: AuthChallenge | DeferredChallenge) -> frozenset[str]:
        """Realms that ``realm_change = "ask"`` let through: a person may answer them, no store may (T02)."""
        origin, auth = asked.exchange.origin, self.auth
        return frozenset(c.realm for c in asked.challenges if new_realm(c, origin, auth.policy, auth.pins))

    def _ask(self, deferred: DeferredChallenge) -> Ask:
        exchange = deferred.exchange
        refresh = exchange.method == "REGISTER" and not self.is_binding
        background = refresh or _keeps_up(exchange)
        prompts = self.agent.interactive and (not background or self.config.policy.background_prompts)
        waits = exchange.method == "REGISTER" and exchange.interactive and not self.is_closed and self.agent.waits()
        story = self.story(exchange)

        def failed(failure: ChainFailure) -> None:
            story.failure = failure
            if failure.why is GiveUp.PERSON:
                self.agent.waiting.expect(self, failure)

        return Ask(
            deferred=deferred,
            terms=for_person(self.terms, self._strange_realms(deferred), self.agent.config),
            origin=exchange.origin,
            method=exchange.method,
            status=deferred.response.status,
            fetch=exchange.interactive and not self.is_closed,
            prompts=prompts and exchange.interactive,
            waits=waits,
            answerable=waits and self.agent.waiting.has_door,
            ration=self.ration,
            latest=self._latest() if refresh else None,
            labels=deferred.labels,
            on_failed=failed,
            is_registered=self.auth.is_registered,
        )

    def _latest(self) -> float | None:
        """When a refresh must have its secret; a binding too short for the margin lasts until it expires."""
        binding = self.binding
        if binding is None:
            return None
        latest = binding.expires_at - REFRESH_MARGIN
        return latest if latest > self.agent.gate.loop.time() else binding.expires_at


def _keeps_up(exchange: Challenged) -> bool:
    """A refresh of a subscription or publication: nobody sits in front of it."""
    request = exchange.request
    if exchange.method == "SUBSCRIBE":
        return request.to.tag is not None
    return exchange.method == "PUBLISH" and "sip-if-match" in request.headers
