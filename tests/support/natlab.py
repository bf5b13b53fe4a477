"""Two homes behind NATs of their own, and the public network between them.  Needs root; everything goes with the test.

::

    left  192.168.1.2 ── 192.168.1.1 [nat-left] 203.0.113.10 ──┐
                                                                ├── public 203.0.113.1
    right 192.168.2.2 ── 192.168.2.1 [nat-right] 203.0.113.20 ─┘

A NAT is nftables' masquerade, as in a router at home: *cone* keeps the port and lets in only whom one of ours has sent
to (port-restricted; holes can be dug); *symmetric* takes a new port for each destination (RFC 4787 section 4.1).
What goes between left's phone and its NAT may be made to suffer (tests/support/cable.py).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from tests.support.cable import Cable, Hurts
from tests.support.netns import Namespace

PUBLIC = "203.0.113.1"
Nat = Literal["cone", "symmetric"]


class Homes(NamedTuple):
    left: Namespace
    right: Namespace
    public: Namespace
    router: Namespace
    """Right's; its NAT's memory may be changed."""


@contextmanager
def two_homes(left: Nat = "cone", right: Nat = "cone", hurts: Hurts | None = None) -> Iterator[Homes]:
    made: list[Namespace] = []
    cables: list[Cable] = []

    def host(name: str) -> Namespace:
        made.append(Namespace(name))
        return made[-1]

    try:
        public = host("public")
        public.ip("link", "add", "street", "type", "bridge")
        public.ip("addr", "add", f"{PUBLIC}/24", "dev", "street")
        public.ip("link", "set", "street", "up")
        # Somebody's private address is nowhere, as on the Internet; without a route at all coturn drops its client.
        public.ip("route", "add", "default", "dev", "street")
        homes = [
            _home(host, public, number, kind, bad, cables) for number, kind, bad in ((1, left, hurts), (2, right, None))
        ]
        yield Homes(homes[0][0], homes[1][0], public, homes[1][1])
    finally:
        for cable in cables:
            cable.close()
        for one in made:
            one.close()


def _home(
    host: Callable[[str], Namespace],
    public: Namespace,
    number: int,
    kind: Nat,
    hurts: Hurts | None,
    cables: list[Cable],
) -> tuple[Namespace, Namespace]:
    phone, router = host(f"phone{number}"), host(f"nat{number}")
    inside, outside = f"192.168.{number}.2/24", f"192.168.{number}.1/24"
    if hurts is not None:
        cables.append(Cable(phone, inside, router, outside, hurts))
    else:
        phone.ip("link", "add", "net0", "type", "veth", "peer", "name", "home", "netns", router.name)
        phone.ip("addr", "add", inside, "dev", "net0")
        router.ip("addr", "add", outside, "dev", "home")
        phone.ip("link", "set", "net0", "up")
        router.ip("link", "set", "home", "up")
    router.ip("link", "add", "wan", "type", "veth", "peer", "name", f"house{number}", "netns", public.name)
    router.ip("addr", "add", f"203.0.113.{number}0/24", "dev", "wan")
    public.ip("link", "set", f"house{number}", "master", "street", "up")
    router.ip("link", "set", "wan", "up")
    phone.ip("route", "add", "default", "via", f"192.168.{number}.1")
    _run(router.command(["sysctl", "-qw", "net.ipv4.ip_forward=1"]))
    way = "masquerade random,fully-random" if kind == "symmetric" else "masquerade"
    rules = f"""
table ip home {{
    chain outward {{
        type nat hook postrouting priority 100
        oifname "wan" {way}
    }}
    chain through {{
        type filter hook forward priority 0
        iifname "wan" ct state new drop
    }}
    # What nobody asked for is not answered either: it would be remembered, and take the port from who digs from inside.
    chain inward {{
        type filter hook input priority 0
        iifname "wan" ct state new drop
    }}
}}
"""
    _run(router.command(["nft", "-f", "-"]), rules)
    return phone, router


def _run(argv: list[str], text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
