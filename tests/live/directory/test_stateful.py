"""Any series of operations, and of an administrator's interventions, against a model that fits on a page."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from reconciler.base.errors import ActionRefused
from reconciler.live.driver import ExistingKey, Upload
from tests.live.contract import form
from tests.live.directory.stores import assert_haproxy_starts, bundle, keys, names, new_store, put
from tests.support.authority import Authority, Issued, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.live.directory.operations import DirectoryStore
    from reconciler.pki.certificate import Certificate

ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()
FIRST = INTERMEDIATE.issue(["access.example.com"])
RENEWED = INTERMEDIATE.issue(["access.example.com"], key=FIRST.key)
WILDCARD = ROOT.issue(["*.example.com"])
OWN = self_signed(["own.example.com"])
LEAVES = (FIRST, RENEWED, WILDCARD, OWN)
POOL = (*(each.certificate for each in LEAVES), ROOT.certificate, INTERMEDIATE.certificate)

leaves = st.sampled_from(LEAVES)
certificates = st.sampled_from(POOL)


class Store(RuleBasedStateMachine):
    """The directory on one side; on the other what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        # Nothing is cut off here, so nothing has to wait for the disk.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda _: None)

    @initialize()
    def make(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "store")
        self.store: DirectoryStore = new_store(self.path)
        observed = self.store.observe()
        self.factory = observed.certificates[0].certificate
        self.rows: dict[Certificate, bool] = {self.factory: True}
        self.default = self.factory
        self.first: dict[str, Certificate] = {}
        """Files that come before 00-default.pem."""
        self.requests: dict[str, str] = {}
        """Fingerprint and public key."""
        self.dropped = 0

    def known_keys(self) -> set[str]:
        return {*self.requests.values(), *(each.public_key for each, has_key in self.rows.items() if has_key)}

    def expect(self, operation: Callable[[], None], *, refused: bool) -> bool:
        if refused:
            with pytest.raises(ActionRefused):
                operation()
        else:
            operation()
        return not refused

    def gain(self, added: Iterable[Certificate], held: set[str]) -> None:
        for each in added:
            if self.rows.get(each):
                continue
            self.rows[each] = each.public_key in held
            if each.public_key in held:
                self.requests = {one: key for one, key in self.requests.items() if key != each.public_key}

    @rule(issued=leaves, with_key=st.booleans(), with_chain=st.booleans())
    def import_file(self, issued: Issued, with_key: bool, with_chain: bool) -> None:  # noqa: FBT001 - drawn
        added = (issued.certificate, *(issued.chain if with_chain else ()))
        held = self.known_keys() | ({issued.certificate.public_key} if with_key else set())
        content = bundle(issued, added[1:])
        self.store.import_(Upload(content if with_key else content.replace(issued.key_pem(), b"")))
        self.gain(added, held)

    @rule(certificate=certificates)
    def import_certificate(self, certificate: Certificate) -> None:
        held = self.known_keys()
        self.store.import_(Upload(certificate.der))
        self.gain([certificate], held)

    @rule(issued=leaves)
    def import_key(self, issued: Issued) -> None:
        own = [each for each in self.rows if each.public_key == issued.certificate.public_key]
        if self.expect(lambda: self.store.import_(Upload(issued.key_pem())), refused=not own):
            self.gain(own, {issued.certificate.public_key})

    @rule(certificate=certificates)
    def set_default(self, certificate: Certificate) -> None:
        changes = certificate != self.default
        refused = not self.rows.get(certificate)
        if self.expect(lambda: self.store.set_default(certificate.fingerprint), refused=refused) and changes:
            self.default = certificate
            self.first = {}

    @rule()
    def set_default_back(self) -> None:
        self.set_default(self.factory)

    @rule(certificate=certificates)
    def remove(self, certificate: Certificate) -> None:
        refused = certificate not in self.rows or certificate == self.default
        if self.expect(lambda: self.store.remove(certificate.fingerprint), refused=refused):
            del self.rows[certificate]
            self.first = {name: each for name, each in self.first.items() if each != certificate}

    @rule()
    def remove_factory(self) -> None:
        self.expect(lambda: self.store.remove(self.factory.fingerprint), refused=True)

    @rule(existing=st.none() | leaves)
    def create_request(self, existing: Issued | None) -> None:
        key = existing and existing.certificate.public_key
        wanted = form(key=ExistingKey(key)) if key else form()
        if self.expect(lambda: self.store.create_request(wanted), refused=bool(key) and key not in self.known_keys()):
            (made,) = [each for each in self.store.observe().requests if each.fingerprint not in self.requests]
            self.requests[made.fingerprint] = made.public_key

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        request = self.some_request(data)
        if request:
            pending = next(each for each in self.store.observe().requests if each.fingerprint == request)
            signed = INTERMEDIATE.sign(x509.load_pem_x509_csr(pending.request_data.encode()))
            self.store.import_(Upload(signed.der))
            self.gain([signed], {signed.public_key})

    @rule(data=st.data())
    def remove_request(self, data: st.DataObject) -> None:
        request = self.some_request(data)
        if request:
            self.store.remove_request(request)
            del self.requests[request]

    def some_request(self, data: st.DataObject) -> str | None:
        return data.draw(st.sampled_from(sorted(self.requests))) if self.requests else None

    @rule(issued=leaves, is_first=st.booleans(), with_chain=st.booleans())
    def an_administrator_drops_a_file(self, issued: Issued, is_first: bool, with_chain: bool) -> None:  # noqa: FBT001
        self.dropped += 1
        name = f"{'00-' if is_first else 'm'}{self.dropped:03}.pem"
        chain = issued.chain if with_chain else ()
        put(self.path, name, bundle(issued, chain))
        self.rows[issued.certificate] = True
        for each in chain:
            self.rows.setdefault(each, False)
        if is_first:
            self.first[name] = issued.certificate
            self.default = self.first[min(self.first)]

    @rule(data=st.data())
    def an_administrator_links_a_file(self, data: st.DataObject) -> None:
        files = [each for each in names(self.path) if not (self.path / each).is_symlink()]
        self.dropped += 1
        (self.path / f"link{self.dropped:03}").symlink_to(data.draw(st.sampled_from(files)))

    @rule()
    def recover(self) -> None:
        self.store.recover()

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        observed = self.store.observe()
        assert keys(observed) == {each.fingerprint: has_key for each, has_key in self.rows.items()}
        assert observed.default == self.default.fingerprint
        assert {each.fingerprint: each.public_key for each in observed.requests} == self.requests
        assert not observed.unfinished

    def teardown(self) -> None:
        self.patch.undo()
        assert_haproxy_starts(self.path)
        self.folder.cleanup()


def test_any_series_of_operations() -> None:
    run_state_machine_as_test(Store, settings=settings(deadline=None, max_examples=40, stateful_step_count=20))


@pytest.mark.prove
def test_any_long_series_of_operations() -> None:
    run_state_machine_as_test(Store, settings=settings(deadline=None, max_examples=500, stateful_step_count=40))
