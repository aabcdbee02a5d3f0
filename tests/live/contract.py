"""What every driver has to do, whatever stands behind it.

A driver's tests subclass `DriverContract` and give it a `harness` fixture over a store fresh from the factory.
"""

from __future__ import annotations

import datetime as dt
import inspect
from typing import TYPE_CHECKING, Protocol

import pytest
from cryptography import x509

from reconciler.base.errors import ActionRefused, StoreError
from reconciler.live.driver import CertificateForm, Driver, ExistingKey, ExportOptions, Format, NewKey, Upload
from reconciler.live.store import LiveCertificate, LiveStore, Operation, Origin, PendingRequest
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.pki.reading import read
from tests.support.authority import Authority, Issued, self_signed

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from reconciler.pki.certificate import Certificate

ABSENT = "0" * 64
NEW_KEY = NewKey("ec-p256")
PASSPHRASE = b"correct horse"
HOSTILE_NAMES = (
    "\x1b[31mred\x1b[0m\x07",
    "two\nlines\r\nand\ttabs",
    "<script>alert(1)</script>|[x](javascript:y)`",
    "::error file=x::gotcha",
    "../../etc/passwd",
    "\u202eevil\u200b\u0000",
    "\ud800 half a surrogate pair",
    "n" * 10_000,
)


class Harness(Protocol):
    """One store under test.

    Attributes:
        sets_lifetime: Whether `valid_for` binds.
    """

    sets_lifetime: bool

    def open(self) -> AbstractAsyncContextManager[Driver]:
        """A driver on the store; several may be open at once."""


def form(
    common_name: str = "Example",
    *names: str,
    key: NewKey | ExistingKey = NEW_KEY,
    friendly_name: str = "Mine",
) -> CertificateForm:
    subject = distinguished_name([("CN", common_name), ("O", "Example Company"), ("C", "US")])
    wanted = tuple(parse_name(name) for name in names or ("access.example.com",))
    return CertificateForm(friendly_name, key, subject, wanted)


def upload(issued: Issued, *, friendly_name: str = "") -> Upload:
    """Certificate and key, without the chain. The file says what it is called, since not every interface asks."""
    named = friendly_name.encode("utf-8", "replace").decode() or "issued"
    return Upload(issued.pkcs12(PASSPHRASE, friendly_name=named), PASSPHRASE, friendly_name)


def row(store: LiveStore, fingerprint: str) -> LiveCertificate:
    return store.by_fingerprint[fingerprint]


async def answer(authority: Authority, request: PendingRequest) -> Issued:
    """The CA's answer; the key in it is none that fits, since only the store has that."""
    certificate = authority.sign(x509.load_pem_x509_csr(request.request_data.encode()))
    return Issued(certificate, authority.key, (authority.certificate,))


async def refused(operation: object, *words: str) -> None:
    """The operation is refused, in words."""
    assert inspect.isawaitable(operation)
    with pytest.raises(ActionRefused) as caught:
        await operation
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


async def withdrawn(driver: Driver, fingerprint: str) -> bool:
    """Withdraw a request, where that is offered; where it is not, it is refused."""
    if Operation.REMOVE_REQUEST in (await driver.observe()).offers:
        await driver.remove_request(fingerprint)
        return True
    await refused(driver.remove_request(fingerprint), "by hand")
    return False


@pytest.mark.anyio
class DriverContract:
    """The suite."""

    # Observing

    async def test_fresh_store_holds_the_factory_certificate_as_default(self, harness: Harness) -> None:
        async with harness.open() as driver:
            store = await driver.observe()
        (factory,) = store.certificates
        assert factory.origin is Origin.FACTORY
        assert factory.common_name == "BeyondTrust Appliance"
        assert factory.certificate.is_self_issued
        assert factory.has_key
        assert store.default == factory.fingerprint
        assert not store.requests
        assert not store.unfinished

    async def test_observing_changes_nothing_and_is_repeatable(self, harness: Harness) -> None:
        async with harness.open() as driver:
            await driver.import_(upload(self_signed(["a.example.com"])))
            await driver.create_request(form())
            first = await driver.observe()
            assert await driver.observe() == first
        async with harness.open() as another:
            assert await another.observe() == first

    async def test_what_is_observed_is_frozen_ordered_and_of_one_class(self, harness: Harness) -> None:
        async with harness.open() as driver:
            for name in ("a.example.com", "b.example.com"):
                await driver.import_(upload(self_signed([name])))
                await driver.create_request(form(name))
            store = await driver.observe()
        assert type(store) is LiveStore
        assert {type(each) for each in store.certificates} == {LiveCertificate}
        assert {type(each) for each in store.requests} == {PendingRequest}
        hash((store.certificates, store.requests, store.rule, store.offers))
        assert [each.fingerprint for each in store.certificates] == sorted(store.by_fingerprint)
        assert [each.fingerprint for each in store.requests] == sorted({each.fingerprint for each in store.requests})
        assert store.offers <= set(Operation)

    # Importing

    async def test_certificate_with_key_is_added_but_not_made_default(self, harness: Harness) -> None:
        issued = Authority.root().issue(["access.example.com"])
        async with harness.open() as driver:
            before = await driver.observe()
            await driver.import_(upload(issued, friendly_name="Access"))
            after = await driver.observe()
        added = row(after, issued.certificate.fingerprint)
        assert added.has_key
        assert added.origin is Origin.ADMINISTRATOR
        assert added.certificate == issued.certificate
        assert set(after.certificates) - set(before.certificates) == {added}
        assert after.default == before.default

    async def test_every_certificate_of_a_bundle_is_a_row(self, harness: Harness) -> None:
        root = Authority.root()
        issued = root.intermediate().issue(["access.example.com"])
        async with harness.open() as driver:
            await driver.import_(Upload(issued.pkcs12(PASSPHRASE, chain=issued.chain), PASSPHRASE))
            store = await driver.observe()
        keys = {fingerprint: each.has_key for fingerprint, each in store.by_fingerprint.items()}
        assert keys[issued.certificate.fingerprint]
        assert not any(keys[each.fingerprint] for each in issued.chain)
        assert len(keys) == 4

    async def test_importing_again_changes_nothing(self, harness: Harness) -> None:
        issued = Authority.root().issue(["access.example.com"])
        files = [upload(issued), Upload(issued.pem()), Upload(issued.certificate.der), Upload(issued.chain[0].der)]
        async with harness.open() as driver:
            for each in files:
                await driver.import_(each)
            first = await driver.observe()
            for each in files:
                await driver.import_(each)
            assert await driver.observe() == first

    async def test_certificate_without_key_is_kept_and_gets_its_key_later(self, harness: Harness) -> None:
        issued = Authority.root().issue(["access.example.com"])
        fingerprint = issued.certificate.fingerprint
        async with harness.open() as driver:
            await driver.import_(Upload(issued.pem()))
            assert not row(await driver.observe(), fingerprint).has_key
            await refused(driver.set_default(fingerprint), "key")
            await driver.import_(Upload(issued.key_pem(PASSPHRASE), PASSPHRASE))
            assert row(await driver.observe(), fingerprint).has_key
            await driver.set_default(fingerprint)

    async def test_certificate_with_a_key_that_the_store_holds_is_linked(self, harness: Harness) -> None:
        root = Authority.root()
        first = root.issue(["access.example.com"])
        renewed = root.issue(["access.example.com"], key=first.key)
        async with harness.open() as driver:
            await driver.import_(upload(first))
            await driver.import_(Upload(renewed.pem()))
            store = await driver.observe()
            assert row(store, first.certificate.fingerprint).has_key
            assert row(store, renewed.certificate.fingerprint).has_key
            await driver.remove(first.certificate.fingerprint)
            assert row(await driver.observe(), renewed.certificate.fingerprint).has_key

    async def test_unusable_files_are_refused_and_change_nothing(self, harness: Harness) -> None:
        issued = self_signed(["a.example.com"])
        stranger = self_signed(["b.example.com"])
        async with harness.open() as driver:
            await driver.create_request(form())
            before = await driver.observe()
            for content, passphrase in (
                (b"", None),
                (b"nothing of the kind", None),
                (issued.pem()[:200], None),
                (issued.pkcs12(PASSPHRASE), None),
                (issued.pkcs12(PASSPHRASE), b"wrong"),
                (issued.pem() + issued.key_pem(PASSPHRASE), b"wrong"),
                (issued.pem() + stranger.key_pem(), None),
                (stranger.key_pem(), None),
                (before.requests[0].request_data.encode(), None),
            ):
                await refused(driver.import_(Upload(content, passphrase)))
            assert await driver.observe() == before

    async def test_passphrases_and_keys_are_in_no_error(self, harness: Harness) -> None:
        issued = self_signed(["a.example.com"])
        async with harness.open() as driver:
            for content in (issued.pkcs12(PASSPHRASE), issued.pem() + issued.key_pem(PASSPHRASE)):
                with pytest.raises(ActionRefused) as caught:
                    await driver.import_(Upload(content, b"a secret that does not fit"))
                error: BaseException | None = caught.value
                while error:
                    assert "a secret that" not in repr(error) + str(error)
                    error = error.__cause__
        assert "a secret" not in repr(Upload(b"a secret", b"a secret"))

    # Requests

    async def test_request_waits_for_its_answer_and_gives_it_its_key(self, harness: Harness) -> None:
        root = Authority.root()
        async with harness.open() as driver:
            await driver.create_request(form("Example", "access.example.com", "west.example.com"))
            store = await driver.observe()
            (request,) = store.requests
            assert request.key_kind == "ec-p256"
            assert [each.value for each in request.subject_alternative_names] == [
                "access.example.com",
                "west.example.com",
            ]
            assert str(request.subject) == "CN=Example, O=Example Company, C=US"
            signed = (await answer(root, request)).certificate
            await driver.import_(Upload(signed.der))
            store = await driver.observe()
        assert row(store, signed.fingerprint).has_key
        assert signed.public_key == request.public_key
        assert not store.requests

    async def test_answer_in_pkcs7_with_its_chain(self, harness: Harness) -> None:
        root = Authority.root()
        async with harness.open() as driver:
            await driver.create_request(form())
            (request,) = (await driver.observe()).requests
            issued = await answer(root.intermediate(), request)
            await driver.import_(Upload(issued.pem() + b"".join(Issued(each, root.key).pem() for each in issued.chain)))
            store = await driver.observe()
        assert row(store, issued.certificate.fingerprint).has_key
        assert not store.requests

    async def test_other_requests_stay_pending(self, harness: Harness) -> None:
        async with harness.open() as driver:
            await driver.create_request(form("One"))
            (one,) = (await driver.observe()).requests
            await driver.create_request(form("Two"))
            assert len((await driver.observe()).requests) == 2
            await driver.import_(Upload((await answer(Authority.root(), one)).certificate.der))
            (left,) = (await driver.observe()).requests
        assert left.subject.common_name == "Two"

    async def test_request_with_an_existing_key(self, harness: Harness) -> None:
        issued = Authority.root().issue(["access.example.com"])
        key = ExistingKey(issued.certificate.public_key)
        async with harness.open() as driver:
            await refused(driver.create_request(form(key=key)), key.public_key)
            await driver.import_(upload(issued))
            await driver.create_request(form(key=key))
            (request,) = (await driver.observe()).requests
            assert request.public_key == key.public_key
            # Importing what was there before answers nothing.
            await driver.import_(upload(issued))
            assert (await driver.observe()).requests == (request,)
            await withdrawn(driver, request.fingerprint)
            assert row(await driver.observe(), issued.certificate.fingerprint).has_key

    async def test_key_goes_with_the_last_request_that_uses_it(self, harness: Harness) -> None:
        async with harness.open() as driver:
            await driver.create_request(form())
            (request,) = (await driver.observe()).requests
            if not await withdrawn(driver, request.fingerprint):
                return
            assert not (await driver.observe()).requests
            signed = (await answer(Authority.root(), request)).certificate
            await driver.import_(Upload(signed.der))
            assert not row(await driver.observe(), signed.fingerprint).has_key
            await refused(driver.create_request(form(key=ExistingKey(request.public_key))))
            await refused(driver.remove_request(request.fingerprint), request.fingerprint)

    # Self-signed

    @pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256", "ec-p384"])
    async def test_self_signed(self, harness: Harness, kind: str) -> None:
        async with harness.open() as driver:
            before = await driver.observe()
            wanted = form("Mine", "a.example.com", "*.b.example.com", "192.0.2.1", key=NewKey(kind))
            await driver.create_self_signed(wanted, dt.timedelta(days=90))
            after = await driver.observe()
        (made,) = set(after.certificates) - set(before.certificates)
        assert made.has_key
        assert made.certificate.is_self_issued
        assert made.certificate.key_kind == kind
        assert made.certificate.subject == wanted.subject
        assert made.subject_alternative_names == wanted.subject_alternative_names
        if harness.sets_lifetime:
            assert made.certificate.not_after - made.certificate.not_before == dt.timedelta(days=90)
        assert after.default == before.default

    async def test_self_signed_with_an_existing_key(self, harness: Harness) -> None:
        async with harness.open() as driver:
            (factory,) = (await driver.observe()).certificates
            key = ExistingKey(factory.certificate.public_key)
            await driver.create_self_signed(form(key=key), dt.timedelta(days=1))
            keys = {each.certificate.public_key for each in (await driver.observe()).certificates}
        assert keys == {key.public_key}

    async def test_forms_that_cannot_be_carried_out_are_refused(self, harness: Harness) -> None:
        subject = distinguished_name([("CN", "Example"), ("C", "Atlantis")])
        names = (parse_name("a.example.com"),)
        async with harness.open() as driver:
            before = await driver.observe()
            for bad in (
                form(key=NewKey("rsa-12")),
                form(key=ExistingKey(ABSENT)),
                CertificateForm("x", NewKey("ec-p256"), subject, names),
            ):
                await refused(driver.create_self_signed(bad, dt.timedelta(days=1)))
                await refused(driver.create_request(bad))
            await refused(driver.create_self_signed(form(), dt.timedelta(days=-1)))
            assert await driver.observe() == before

    # Default and removal

    async def test_default_moves(self, harness: Harness) -> None:
        one, two = self_signed(["a.example.com"]), self_signed(["b.example.com"])
        async with harness.open() as driver:
            for each in (one, two):
                await driver.import_(upload(each))
            for each in (one, two, one, one):
                await driver.set_default(each.certificate.fingerprint)
                assert (await driver.observe()).default == each.certificate.fingerprint
            await refused(driver.set_default(ABSENT), ABSENT)

    async def test_default_and_factory_certificate_are_never_removed(self, harness: Harness) -> None:
        issued = self_signed(["a.example.com"])
        async with harness.open() as driver:
            factory = (await driver.observe()).default
            assert factory
            await refused(driver.remove(factory), "factory")
            await driver.import_(upload(issued))
            await driver.set_default(issued.certificate.fingerprint)
            before = await driver.observe()
            await refused(driver.remove(factory), "factory")
            await refused(driver.remove(issued.certificate.fingerprint), "default")
            assert await driver.observe() == before

    async def test_removing(self, harness: Harness) -> None:
        root = Authority.root()
        issued = root.issue(["access.example.com"])
        async with harness.open() as driver:
            await driver.import_(Upload(issued.pkcs12(PASSPHRASE, chain=issued.chain), PASSPHRASE))
            await driver.remove(issued.certificate.fingerprint)
            store = await driver.observe()
            assert issued.certificate.fingerprint not in store.by_fingerprint
            assert root.certificate.fingerprint in store.by_fingerprint
            # Its key went with it.
            await driver.import_(Upload(issued.pem()))
            assert not row(await driver.observe(), issued.certificate.fingerprint).has_key
            await driver.remove(issued.certificate.fingerprint)
            await driver.remove(root.certificate.fingerprint)
            assert len((await driver.observe()).certificates) == 1
            await refused(driver.remove(root.certificate.fingerprint), root.certificate.fingerprint)

    # Export

    async def test_export_formats_follow_from_the_options(self, harness: Harness) -> None:
        root = Authority.root()
        issued = root.intermediate().issue(["access.example.com"])
        leaf, chain = issued.certificate, list(issued.chain)
        cases: tuple[tuple[ExportOptions, Format, list[Certificate], bool], ...] = (
            (ExportOptions(), Format.DER, [leaf], False),
            (ExportOptions(chain=True), Format.PKCS7, [leaf, *chain], False),
            (ExportOptions(certificate=False, chain=True), Format.PKCS7, chain, False),
            (ExportOptions(certificate=False, private_key=True, passphrase=PASSPHRASE), Format.PKCS8, [], True),
            (ExportOptions(private_key=True, passphrase=PASSPHRASE), Format.PKCS12, [leaf], True),
            (ExportOptions(private_key=True, chain=True, passphrase=PASSPHRASE), Format.PKCS12, [leaf, *chain], True),
            (ExportOptions(private_key=True, chain=True), Format.PKCS12, [leaf, *chain], True),
        )
        async with harness.open() as driver:
            await driver.import_(Upload(issued.pkcs12(PASSPHRASE, chain=issued.chain), PASSPHRASE))
            before = await driver.observe()
            for options, expected, certificates, key in cases:
                file = await driver.export(leaf.fingerprint, options)
                contents = read(file.content, options.passphrase)
                assert file.format is expected
                assert set(contents.certificates) == set(certificates)
                assert [each.public_key for each in contents.keys] == ([leaf.public_key] if key else [])
                assert repr(file.content) not in repr(file)
                if options.passphrase:
                    with pytest.raises(StoreError, match=r"passphrase|password"):
                        await driver.import_(Upload(file.content))
            assert await driver.observe() == before

    async def test_exports_that_cannot_be(self, harness: Harness) -> None:
        root = Authority.root()
        async with harness.open() as driver:
            await driver.import_(Upload(root.certificate.der))
            fingerprint = root.certificate.fingerprint
            await refused(driver.export(ABSENT, ExportOptions()), ABSENT)
            await refused(driver.export(fingerprint, ExportOptions(private_key=True)), "key")
            await refused(driver.export(fingerprint, ExportOptions(certificate=False)))
            await refused(driver.export(fingerprint, ExportOptions(certificate=False, chain=True)))
            factory = (await driver.observe()).default
            assert factory
            both = ExportOptions(certificate=False, private_key=True, chain=True)
            await refused(driver.export(factory, both))
            await refused(driver.export(factory, ExportOptions(private_key=True, passphrase=b"")))

    async def test_export_is_what_a_peer_imports(self, harness: Harness) -> None:
        issued = Authority.root().intermediate().issue(["access.example.com"])
        options = ExportOptions(private_key=True, chain=True, passphrase=PASSPHRASE)
        async with harness.open() as driver:
            await driver.import_(Upload(issued.pkcs12(PASSPHRASE, chain=issued.chain), PASSPHRASE, "Access"))
            full = await driver.observe()
            file = await driver.export(issued.certificate.fingerprint, options)
            for each in (issued.certificate, *issued.chain):
                await driver.remove(each.fingerprint)
            await driver.import_(Upload(file.content, PASSPHRASE))
            assert await driver.observe() == full

    # Friendly names

    async def test_friendly_name_is_shown_and_falls_back_to_the_common_name(self, harness: Harness) -> None:
        named, unnamed = self_signed(["a.example.com"]), self_signed(["b.example.com"], common_name="Its title")
        async with harness.open() as driver:
            await driver.import_(upload(named, friendly_name="Access"))
            await driver.import_(Upload(unnamed.pem() + unnamed.key_pem()))
            await driver.create_self_signed(form(friendly_name="Temporary"), dt.timedelta(days=1))
            store = await driver.observe()
        assert row(store, named.certificate.fingerprint).friendly_name == "Access"
        assert row(store, unnamed.certificate.fingerprint).friendly_name == "Its title"
        assert "Temporary" in {each.friendly_name for each in store.certificates}

    @pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
    async def test_hostile_friendly_names_harm_nothing(self, harness: Harness, name: str) -> None:
        issued = self_signed(["a.example.com"])
        async with harness.open() as driver:
            before = await driver.observe()
            await driver.import_(upload(issued, friendly_name=name))
            await driver.create_request(form(friendly_name=name))
            store = await driver.observe()
            assert set(before.certificates) < set(store.certificates)
            shown = row(store, issued.certificate.fingerprint).friendly_name
            assert len(shown) <= len(name)
            shown.encode()
            await driver.set_default(issued.certificate.fingerprint)
            await driver.import_(Upload((await answer(Authority.root(), store.requests[0])).certificate.der))

    # Several at once

    async def test_two_drivers_on_one_store_see_each_other(self, harness: Harness) -> None:
        one, two = self_signed(["a.example.com"]), self_signed(["b.example.com"])
        async with harness.open() as first, harness.open() as second:
            await first.import_(upload(one))
            await second.import_(upload(two))
            await first.set_default(two.certificate.fingerprint)
            await refused(second.remove(two.certificate.fingerprint), "default")
            await second.remove(one.certificate.fingerprint)
            assert await first.observe() == await second.observe()
            assert one.certificate.fingerprint not in (await first.observe()).by_fingerprint

    async def test_recovering_where_nothing_is_due_changes_nothing(self, harness: Harness) -> None:
        async with harness.open() as driver:
            before = await driver.observe()
            await driver.recover()
            assert await driver.observe() == before


def signature_differences(driver: type) -> list[str]:
    """Where a driver's methods differ from the protocol's."""
    differences = []
    for name, wanted in inspect.getmembers(Driver, inspect.iscoroutinefunction):
        offered = getattr(driver, name, None)
        if not inspect.iscoroutinefunction(offered):
            differences.append(f"{name} is missing")
        elif inspect.signature(offered) != inspect.signature(wanted):
            differences.append(f"{name}{inspect.signature(offered)} instead of {name}{inspect.signature(wanted)}")
    return differences
