"""Real certificate authorities answer the requests that the reconciler makes, in every format that Import accepts."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from reconciler.base.clock import system_clock
from reconciler.live.directory import create_store
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import CertificateForm, NewKey, Upload
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.names import parse_name
from reconciler.pki.reading import Keys, read
from tests.support.authorities import FORMATS, LIFETIME, cfssl_authority, objections, openssl_authority
from tests.support.authority import DAY, NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.pki.certificate import Certificate
    from tests.support.authorities import Authority, OpenSSLAuthority

NAMES = ("access.example.com", "east-1.example.com", "*.access.example.com", "192.0.2.7")


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> OpenSSLAuthority:
    return openssl_authority(tmp_path_factory.mktemp("openssl") / "ca")


@pytest.fixture(scope="module", params=["cfssl", "OpenSSL"])
def authority(
    request: pytest.FixtureRequest, openssl: OpenSSLAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authority]:
    if request.param == "OpenSSL":
        yield openssl
        return
    with cfssl_authority(tmp_path_factory.mktemp("cfssl") / "ca") as authority:
        yield authority


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    create_store(tmp_path / "store", lambda: NOW)
    return DirectoryStore(tmp_path / "store", lambda: NOW)


def requested(store: DirectoryStore, kind: str = "rsa-2048") -> str:
    """The request data of a new request in a store."""
    subject = distinguished_name([("C", "US"), ("ST", "Mississippi"), ("O", "Example Company"), ("CN", "Access")])
    store.create_request(CertificateForm("access", NewKey(kind), subject, tuple(parse_name(each) for each in NAMES)))
    return store.observe().requests[0].request_data


def parsed(pem: bytes) -> Certificate:
    (certificate,) = read(pem).certificates
    return certificate


@pytest.mark.parametrize("name", FORMATS)
def test_an_answer_in_any_format_is_read_and_joins_its_key(
    authority: Authority, store: DirectoryStore, name: str
) -> None:
    leaf = authority.sign(requested(store), not_before=NOW, not_after=NOW + 90 * DAY)
    request = store.observe().requests[0]
    answer = FORMATS[name](leaf, authority.chain)
    contents = read(answer, keys=Keys.LEFT_ALONE)
    together = [leaf] if name in {"DER", "PEM"} else [leaf, *authority.chain]
    assert set(contents.certificates) == {parsed(each) for each in together}
    certificate = parsed(leaf)
    assert certificate.subject == request.subject
    assert certificate.san_set == {parse_name(each) for each in NAMES}
    assert certificate.public_key == request.public_key

    store.import_(Upload(answer))
    after = store.observe()
    assert after.requests == ()
    assert after.by_fingerprint[certificate.fingerprint].has_key
    assert {parsed(each).fingerprint for each in together} <= set(after.by_fingerprint)


@pytest.mark.parametrize("kind", ["rsa-3072", "ec-p256", "ec-p384"])
def test_an_answer_verifies_within_its_validity_and_only_then(
    authority: Authority, store: DirectoryStore, kind: str
) -> None:
    request = requested(store, kind)
    start, end = NOW + 100 * DAY, NOW + 147 * DAY
    leaf = authority.sign(request, not_before=start, not_after=end)
    certificate = parsed(leaf)
    assert (certificate.not_before, certificate.not_after) == (start, end)
    assert objections(leaf, authority.chain, start + DAY) == ""
    assert "not yet valid" in objections(leaf, authority.chain, start - DAY)
    assert "has expired" in objections(leaf, authority.chain, end + DAY)
    (chain,) = ChainBuilder([parsed(each) for each in authority.chain]).chains(certificate)
    assert chain.complete
    assert chain.certificates == tuple(parsed(each) for each in (leaf, *authority.chain))
    assert parsed(authority.sign(request, not_before=start)).not_after == start + LIFETIME


def test_an_answer_is_valid_from_now_on_unless_told_otherwise(authority: Authority, store: DirectoryStore) -> None:
    certificate = parsed(authority.sign(requested(store)))
    now = system_clock()
    assert now - dt.timedelta(minutes=10) < certificate.not_before <= now
    assert abs(certificate.not_after - certificate.not_before - LIFETIME) <= dt.timedelta(seconds=1)


def test_two_answers_to_one_request_are_two_certificates(authority: Authority, store: DirectoryStore) -> None:
    request = requested(store)
    first, second = (parsed(authority.sign(request, not_before=NOW)) for _ in range(2))
    assert first != second
    assert first.public_key == second.public_key


def test_a_root_that_another_ca_has_signed_leads_to_both(
    authority: Authority, store: DirectoryStore, tmp_path: Path
) -> None:
    old = openssl_authority(tmp_path / "old", "Old")
    cross = old.cross_sign(authority.chain[-1], not_before=NOW - DAY, not_after=NOW + 365 * DAY)
    theirs, own = parsed(cross), parsed(authority.chain[-1])
    assert (theirs.subject, theirs.public_key) == (own.subject, own.public_key)
    assert (theirs.not_before, theirs.not_after) == (NOW - DAY, NOW + 365 * DAY)
    leaf = authority.sign(requested(store), not_before=NOW)
    between = authority.chain[:-1]
    assert objections(leaf, (*between, cross, old.chain[-1]), NOW + DAY) == ""
    assert objections(leaf, (*between, old.chain[-1]), NOW + DAY) != ""
    every = [parsed(each) for each in (*authority.chain, cross, old.chain[-1])]
    tops = {chain.top for chain in ChainBuilder(every).chains(parsed(leaf)) if chain.complete}
    assert tops == {own, parsed(old.chain[-1])}
