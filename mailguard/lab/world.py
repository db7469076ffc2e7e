"""The laboratory's little world: who its clients are, what the DNS says of them, and who has a mailbox.

All clients live in 198.18.0.0/15, which RFC 2544 sets aside for measuring, or in 2001:2::/48 (RFC 5180). (SpamAssassin
gives points for the documentation networks of RFC 5737, so they would not be clean.)
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address

DOMAINS = ("example.com", "test.invalid")
"""The domains that Exim takes mail for."""

USERS = ("alice", "bob", "carol", "postmaster", "abuse", "user")
"""Local parts that have a mailbox in each of :data:`DOMAINS`."""

EXIM_NAME = "mailstore.test.invalid"
MAILGUARD_NAME = "mx.test.invalid"

CLEAN = IPv4Network("198.18.1.0/24")
"""Clients listed nowhere, whose reverse names lead back to them."""

MANY_CLEAN = IPv4Network("198.18.16.0/21")
"""2,048 more of the same, for tests that want a client of their own each."""

NAMELESS = IPv4Network("198.18.2.0/24")
"""Clients listed nowhere, without a reverse name."""

UNCONFIRMED = IPv4Network("198.18.3.0/24")
"""Clients listed nowhere, whose reverse names lead elsewhere."""

UNANSWERED = IPv4Network("198.18.8.0/24")
UNANSWERED_REVERSE = "8.18.198.in-addr.arpa"
"""Clients listed nowhere, whose reverse zone is refused to whoever asks."""

CLEAN_V6 = IPv6Network("2001:2:0:1::/64")
LISTED_V6 = "2001:2:0:7::7"
"""On zen's IPv6 side, as is all of 2001:2:0:7::/64."""

LISTED_TWICE = "198.18.7.7"
"""On zen (127.0.0.4) and on SpamCop."""

LISTED_SBL = "198.18.7.2"
LISTED_CSS = "198.18.7.3"
"""On zen alone, with codes (127.0.0.2 and 127.0.0.3) that SpamAssassin looks for in all Received lines."""

LISTED_BY_SPAMCOP = "198.18.7.8"
LISTED_AND_WELCOME = "198.18.7.6"
"""On zen (127.0.0.4), on SpamCop and, of medium trust, on DNSWL."""

ZEN = "zen.spamhaus.org"
SPAMCOP = "bl.spamcop.net"
DNSWL = "list.dnswl.org"

_SOA = "$SOA 60 ns.{zone}. hostmaster.{zone}. 0 600 300 86400 60\n$NS 60 ns.{zone}.\n$TTL 60\n"
"""The last figure of the SOA is how long "not listed" may be kept (RFC 2308 5)."""

ZEN_IP4 = """:127.0.0.2:Listed, see the test world: $
127.0.0.2
198.18.7.2 :127.0.0.2:SBL $
198.18.7.3 :127.0.0.3:CSS $
198.18.7.4 :127.0.0.4:XBL $
198.18.7.6 :127.0.0.4:XBL $
198.18.7.7 :127.0.0.4:XBL $
198.18.7.9 :127.0.0.9:DROP $
198.18.7.10 :127.0.0.10:PBL $
198.18.7.11 :127.0.0.11:PBL $
198.18.7.99 :127.0.0.99:a code that no table knows $
198.18.66.0/24 :127.0.0.4:XBL $
"""

ZEN_IP6 = """:127.0.0.4:XBL $
::ffff:7f00:2
2001:2:0:7::/64
"""
"""The test point of RFC 5782 5 for IPv6 is ::FFFF:7F00:2."""

SPAMCOP_IP4 = """:127.0.0.2:Blocked, see the test world: $
127.0.0.2
198.18.7.6
198.18.7.7
198.18.7.8
198.18.67.0/24
"""

DNSWL_IP4 = """:127.0.10.0:none $
127.0.0.2
198.18.5.1 :127.0.10.0:none $
198.18.5.2 :127.0.10.1:low $
198.18.5.3 :127.0.10.2:medium $
198.18.5.4 :127.0.10.3:high $
198.18.7.6 :127.0.10.2:medium $
"""

DNSWL_IP6 = """:127.0.10.0:none $
::ffff:7f00:2
2001:2:0:5::3 :127.0.10.2:medium $
"""

LISTS: dict[str, dict[str, str]] = {
    ZEN: {"ip4set": ZEN_IP4, "ip6trie": ZEN_IP6},
    SPAMCOP: {"ip4set": SPAMCOP_IP4},
    DNSWL: {"ip4set": DNSWL_IP4, "ip6trie": DNSWL_IP6},
}
"""What each list holds, by rbldnsd's kind of data."""

FAULTS: dict[str, tuple[str, str]] = {
    "silent": ("always_deny", ""),
    "refused": ("refuse", ""),
    "nothing": ("always_nxdomain", ""),
    "blocked": ("redirect", "127.255.255.254"),
    "outside": ("redirect", "198.18.0.53"),
    "everything": ("redirect", "127.0.0.2"),
}
"""Ways in which a list fails, as unbound's zone type and, for ``redirect``, the only answer:
no answer at all; REFUSED; every name unknown (its test point too); "your resolver is blocked"; an answer outside 127/8;
the whole Internet is listed. A seventh, ``servfail``, is a zone whose only server refuses to know it."""

SERVFAIL = "servfail"


def fault_zone(fault: str) -> str:
    """The name of the list that always fails in the way ``fault``: a key of :data:`FAULTS`, or ``servfail``."""
    return f"{fault}.dnsbl.test"


def zone_head(zone: str) -> str:
    """The lines that begin each file of ``zone``."""
    return _SOA.format(zone=zone)


def host_name(address: object) -> str:
    """The reverse name of a client, which leads back to it where it is clean: ``relay-aakk.example.net``.

    It must not look like a dial-up's, figures and all, or SpamAssassin gives points for it.
    """
    ip = ip_address(str(address))
    number = int(ip) & (0x1FFFF if ip.version == 4 else 0xFFFF_FFFF)
    letters = ""
    while number or len(letters) < 4:
        number, letter = divmod(number, 26)
        letters = chr(ord("a") + letter) + letters
    return f"{'relay' if ip.version == 4 else 'relay-six'}-{letters}.example.net"


def records() -> Iterator[str]:
    """Every resource record of the world outside the lists, in master file format (RFC 1035 5)."""
    for domain in (*DOMAINS, "example.org", "example.net"):
        yield f"{domain}. 300 IN MX 10 mx.{domain}."
        yield f"mx.{domain}. 300 IN A 198.18.0.25"
        yield f"mail.{domain}. 300 IN A 198.18.1.25"
    yield "nullmx.example. 300 IN MX 0 ."  # RFC 7505: takes no mail
    yield "aonly.example. 300 IN A 198.18.0.26"  # the implicit MX of RFC 5321 5.1
    yield f"{EXIM_NAME}. 300 IN A 127.0.0.1"
    yield f"{MAILGUARD_NAME}. 300 IN A 127.0.0.1"
    for network in (CLEAN, MANY_CLEAN):
        for address in network:
            yield f"{address.reverse_pointer}. 300 IN PTR {host_name(address)}."
            yield f"{host_name(address)}. 300 IN A {address}"
    for address in UNCONFIRMED:
        yield f"{address.reverse_pointer}. 300 IN PTR {host_name(address)}."
        yield f"{host_name(address)}. 300 IN A 198.18.0.1"
    for offset in range(1, 33):
        address6 = CLEAN_V6[offset]
        yield f"{address6.reverse_pointer}. 300 IN PTR {host_name(address6)}."
        yield f"{host_name(address6)}. 300 IN AAAA {address6}"
