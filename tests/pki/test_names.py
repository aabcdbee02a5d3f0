"""Covering, after RFC 9525, and against two independent judges: OpenSSL in real handshakes, cryptography's verifier.

Where both judges say the same, so must we, with two exceptions. A final dot is taken off a host before either is asked,
as clients do; public tables contradict each other there. Names that end in a number are not compared: the judges hold
any text against any other, while we take such a name for a mistyped address.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.pki.names import (
    NameType,
    SubjectAlternativeName,
    covers,
    normalize_dns,
    parse_name,
    pattern_covers,
)
from tests.support.authority import Authority, Issued, make_key

# Handshakes know no other time than the machine's.
START, END = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2049, 1, 1, tzinfo=dt.UTC)
ROOT = Authority.root(not_before=START, not_after=END)
KEY = make_key()

COVERED = [
    ("access.example.com", "access.example.com"),
    ("Access.EXAMPLE.com", "access.example.COM"),
    ("access.example.com", "access.example.com."),
    ("*.example.com", "access.example.com"),
    ("*.EXAMPLE.com", "ACCESS.example.com"),
    ("*.example.com", "xn--bcher-kva.example.com"),
    ("*.example.com", "bücher.example.com"),
    ("xn--bcher-kva.example.com", "bücher.example.com"),
    ("*.xn--bcher-kva.example", "www.bücher.example"),
    ("xn--bcher-kva.example.com", "bücher。example。com。"),
    ("access_1.example.com", "access_1.example.com"),
    ("localhost", "localhost"),
    ("*.example.com", "*.example.com"),
]
NOT_COVERED = [
    ("access.example.com.", "access.example.com"),
    ("*.example.com.", "access.example.com"),
    ("bücher.example.com", "xn--bcher-kva.example.com"),
    ("access.example.com", "access.example.com.."),
    ("access.example.com", "other.example.com"),
    ("access.example.com", "example.com"),
    ("access.example.com", "a.access.example.com"),
    ("*.example.com", "example.com"),
    ("*.example.com", "a.b.example.com"),
    ("*.example.com", ".example.com"),
    ("*.example.com", "*.other.com"),
    ("access.example.com", "*.example.com"),
    ("*", "localhost"),
    ("*", "example.com"),
    ("*.", "com"),
    ("*.com", "example.com"),
    ("*.*.example.com", "a.b.example.com"),
    ("a.*.example.com", "a.b.example.com"),
    ("f*.example.com", "foo.example.com"),
    ("*o.example.com", "foo.example.com"),
    ("f*o.example.com", "foo.example.com"),
    ("xn--*.example.com", "xn--bcher-kva.example.com"),
    ("**.example.com", "a.example.com"),
    ("", "example.com"),
    ("example.com", ""),
    ("example..com", "example..com"),
    ("-a.example.com", "-a.example.com"),
    ("a-.example.com", "a-.example.com"),
    ("a b.example.com", "a b.example.com"),
    ("192.0.2.1", "192.0.2.1"),
    ("*.0.2.1", "192.0.2.1"),
    ("a" * 64 + ".example.com", "a" * 64 + ".example.com"),
]


@pytest.mark.parametrize(("pattern", "host"), COVERED)
def test_covered(pattern: str, host: str) -> None:
    assert pattern_covers(pattern, host)


@pytest.mark.parametrize(("pattern", "host"), NOT_COVERED)
def test_not_covered(pattern: str, host: str) -> None:
    assert not pattern_covers(pattern, host)


ADDRESSES = tuple(parse_name(name) for name in ("192.0.2.1", "2001:db8::1"))


@pytest.mark.parametrize("name", ["192.0.2.1", "2001:db8::1", "2001:DB8:0:0::0001"])
def test_addresses_are_covered_by_equal_addresses(name: str) -> None:
    assert covers(ADDRESSES, name)


@pytest.mark.parametrize(
    "name", ["192.0.2.2", "2001:db8::2", "::ffff:192.0.2.1", "192.0.2.1.", "192.0.2", "fe80::1%eth0"]
)
def test_addresses_are_covered_by_nothing_else(name: str) -> None:
    assert not covers((*ADDRESSES, parse_name("*.example.com")), name)


def test_an_address_is_no_dns_name_nor_the_other_way_round() -> None:
    assert not covers((SubjectAlternativeName(NameType.DNS, "192.0.2.1"),), "192.0.2.1")
    assert not covers((SubjectAlternativeName(NameType.OTHER, "access.example.com"),), "access.example.com")
    assert not covers((), "access.example.com")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Access.Example.com.", "dNSName - access.example.com"),
        ("*.Example.com", "dNSName - *.example.com"),
        ("straße.example", "dNSName - xn--strae-oqa.example"),
        ("192.0.2.1", "iPAddress - 192.0.2.1"),
        ("2001:DB8::0", "iPAddress - 2001:db8::"),
    ],
)
def test_what_administrators_write(written: str, read: str) -> None:
    assert str(parse_name(written)) == read


@pytest.mark.parametrize(
    "written",
    ["", ".", "*", "*.", "a..b", "192.0.2.256", "10.0.0.01", "1.2.3", "fe80::1%eth0", "192.0.2.0/24", "[::1]",
     "https://example.com", "example.com:443", "a" * 64, ".".join(["a" * 60] * 5), "*." + "a." * 126 + "b",
     "\ud800.example", "a\u0000.example", "*.*.example.com", "xn--\N{SNOWMAN}.example"],
)  # fmt: skip
def test_what_is_no_name(written: str) -> None:
    with pytest.raises(ValueError, match=r"is (not a|neither a) host name"):
        parse_name(written)


@cache
def issued(pattern: str) -> Issued:
    try:
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(pattern))
    except ValueError:
        name = x509.DNSName(pattern)
    # No common name that OpenSSL might fall back to.
    return ROOT.issue([name], common_name="no host", not_before=START, not_after=END, key=KEY)


@cache
def server(pattern: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        file = Path(folder, "server.pem")
        file.write_bytes(issued(pattern).pem() + issued(pattern).key_pem())
        context.load_cert_chain(file)
    return context


@cache
def client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.load_verify_locations(cadata=ROOT.certificate.der)
    return context


def openssl_accepts(pattern: str, host: str) -> bool:
    """Whether a TLS client that asks for `host` accepts a server with that name in its certificate; all in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        asking = client().wrap_bio(to_client, to_server, server_hostname=host)
    except ValueError:
        return False  # Python does not even ask for it
    answering = server(pattern).wrap_bio(to_server, to_client, server_side=True)
    for side in (asking, answering, asking):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in {62, 64}:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
                return False
            raise
    return True


def cryptography_accepts(pattern: str, host: str) -> bool:
    try:
        subject: x509.DNSName | x509.IPAddress = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    try:
        store = Store([ROOT.certificate.to_x509()])
        verifier = PolicyBuilder().store(store).time(START + (END - START) / 2).build_server_verifier(subject)
        verifier.verify(issued(pattern).certificate.to_x509(), [])
    except (VerificationError, ValueError):
        return False
    return True


def assert_agrees(pattern: str, host: str) -> bool:
    """Compare with the judges; say whether they agreed."""
    asked = host.removesuffix(".")
    verdict = openssl_accepts(pattern, asked)
    if verdict is not cryptography_accepts(pattern, asked):
        return False
    assert covers(issued(pattern).certificate.subject_alternative_names, host) is verdict, (pattern, host, verdict)
    return True


def test_agrees_with_independent_judges_on_the_tables() -> None:
    pairs = [
        (pattern, host)
        for pattern, host in COVERED + NOT_COVERED
        if (pattern + host).isascii() and not host.startswith("*.") and host != "192.0.2.1"
    ]
    pairs += [
        (pattern, host) for pattern in ("192.0.2.1", "2001:db8::1") for host in ("192.0.2.1", "2001:db8::1", "::1")
    ]
    agreed = sum(assert_agrees(pattern, host) for pattern, host in pairs)
    assert agreed > len(pairs) * 0.75


LABELS = st.sampled_from(("a", "B", "foo", "xn--bcher-kva", "com", "example", "a-1", "0"))
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda host: not host.endswith("0"))
PATTERNS = st.lists(LABELS | st.sampled_from(("*", "f*", "*a")), min_size=1, max_size=4).map(".".join)


@settings(deadline=None, max_examples=300)
@given(PATTERNS, HOSTS)
def test_agrees_with_independent_judges_on_anything(pattern: str, host: str) -> None:
    assert_agrees(pattern, host)


@settings(deadline=None, max_examples=300)
@given(HOSTS)
def test_a_wildcard_covers_its_siblings_and_nothing_above_or_below(host: str) -> None:
    name = f"x.{host}.example.com"
    assert pattern_covers(f"*.{host}.example.com", name)
    assert not pattern_covers(f"*.{host}.example.com", f"y.{name}")
    assert not pattern_covers(f"*.{host}.example.com", f"{host}.example.com")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40) | HOSTS | PATTERNS)
def test_normalising_settles(text: str) -> None:
    try:
        once = normalize_dns(text)
    except ValueError:
        assert not pattern_covers(text, text)
        return
    assert normalize_dns(once) == once
    assert once == once.lower()
    assert once.isascii()
    assert len(once) <= 253
    assert pattern_covers(once, text)
