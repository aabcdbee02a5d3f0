"""Which certificate is meant, and whether what a store hands out is what was asked for."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.errors import ActionRefused, StoreUnrecognised, UsageError
from reconciler.engine.export import Export, export_certificate
from reconciler.engine.operator import OperatorSettings
from reconciler.live.driver import DriverType, ExportedFile, ExportOptions, Format
from reconciler.pki.keys import private_key
from reconciler.pki.reading import read
from reconciler.pki.writing import write_pem, write_pkcs7, write_pkcs8, write_pkcs12
from tests.plan.scenes import OWN, leaf, one, own, two
from tests.support.authority import NOW
from tests.support.desired import desired
from tests.support.memory import Fault, MemoryConfiguration, MemoryDriver, MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.base.references import StoreConfiguration
    from reconciler.desired.state import DesiredState
    from reconciler.live.driver import Driver, OpenContext
    from reconciler.pki.certificate import Certificate

ACCESS, OTHER, ALIEN = leaf(one()), leaf(one(), start=-10), leaf(two())
OLDER, NEWER = own(start=-40), own(start=-20)
PASSPHRASE = b"correct horse battery staple"
HOSTILE = "evil\x1b[31m\n\u202ereconciler: all is well" + "x" * 10_000
CERTIFICATE, CHAIN = ExportOptions(), ExportOptions(certificate=False, chain=True)
KEY = ExportOptions(certificate=False, private_key=True, passphrase=PASSPHRASE)
EVERYTHING = ExportOptions(private_key=True, chain=True, passphrase=PASSPHRASE)
FILES = {
    "sites/access.yaml": """
        hostname: access.example.com
        topology: failover
        primary: east
        backup: west
        certificates: [access, own, broken]
        client_software: none
        """,
    "appliances/east.yaml": "hostname: east.example.com\nstore: {driver: directory}",
    "appliances/west.yaml": "hostname: west.example.com\nstore: {driver: directory}",
    "certificates/access.yaml": """
        subject: {common_name: Example remote access}
        subject_alternative_names: [access.example.com]
        key: ec-p256
        source: {kind: provided, certificate: leaf.pem, key: key.p12, passphrase: {env: NAME}}
        """,
    "certificates/own.yaml": OWN,
}


@dataclass
class Bench:
    """Two simulated appliances, of which one may be made to hand out something else."""

    east: MemoryStore = field(default_factory=MemoryStore)
    west: MemoryStore = field(default_factory=MemoryStore)
    lie: bytes | None = None
    told: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=lambda: dict(FILES))

    @property
    def state(self) -> DesiredState:
        return desired(self.files, {"certificates/leaf.pem": (ACCESS.certificate,)})

    @asynccontextmanager
    async def open(self, _: StoreConfiguration, context: OpenContext) -> AsyncIterator[Driver]:
        yield Lying(self.east if context.appliance == "east" else self.west, self.lie)

    def export(self, wanted: str, options: ExportOptions = CERTIFICATE) -> Export:
        async def run() -> Export:
            return await export_certificate(
                self.state,
                OperatorSettings(),
                lambda: NOW,
                "east",
                wanted,
                options,
                lambda *telling: self.told.append(telling),
            )

        return anyio.run(run)

    def refusal(self, wanted: str) -> list[str]:
        with pytest.raises(UsageError) as refused:
            self.export(wanted)
        return str(refused.value).split("\n")


class Lying(MemoryDriver):
    def __init__(self, store: MemoryStore, lie: bytes | None) -> None:
        super().__init__(store)
        self._lie = lie

    async def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        honest = await super().export(fingerprint, options)
        return honest if self._lie is None else ExportedFile(Format.DER, self._lie)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    made.east.put(ACCESS, name="Access").put(OTHER, name="Other").put(*ACCESS.chain)
    # The appliances name the directory driver; here that is one in memory.
    driver = DriverType(MemoryConfiguration, made.open)
    monkeypatch.setattr("reconciler.engine.stores.driver_types", lambda: {"directory": driver})
    return made


class TestWhichIsMeant:
    @pytest.mark.parametrize(
        "wanted",
        [
            "access",
            "Access",
            ACCESS.certificate.fingerprint,
            ACCESS.certificate.fingerprint[:8],
            ACCESS.certificate.fingerprint[:9].upper(),
            ":".join(re.findall("..", ACCESS.certificate.fingerprint)),
        ],
        ids=["declared", "friendly", "whole", "prefix", "upper", "colons"],  # digits are new in every process
    )
    def test_a_declared_name_the_digits_of_its_fingerprint_or_a_friendly_name(self, bench: Bench, wanted: str) -> None:
        exported = bench.export(wanted)
        assert exported.live.certificate == ACCESS.certificate
        assert exported.file == ExportedFile(Format.DER, ACCESS.certificate.der)
        assert bench.told == [("east", "observing"), ("east", "exporting")]
        assert bench.east.changes == []

    @pytest.mark.parametrize(
        "wanted",
        ["nothing", ACCESS.certificate.fingerprint[:7], "f" * 64, ""],
        ids=["name", "few digits", "other digits", "empty"],
    )
    def test_what_is_not_there_is_told_with_what_is(self, bench: Bench, wanted: str) -> None:
        first, *lines = bench.refusal(wanted)
        assert first.startswith(f"no certificate in the store of east is called {wanted[:60]}")
        assert f"  {ACCESS.certificate.fingerprint[:16]}  Access, declared as access" in lines
        assert f"  {OTHER.certificate.fingerprint[:16]}  Other" in lines
        assert f"  {one().certificate.fingerprint[:16]}  Issuer One, without a key" in lines
        assert len(lines) == len(bench.east.rows)

    def test_a_friendly_name_of_two_rows_means_neither(self, bench: Bench) -> None:
        bench.east.put(ALIEN, name="Other")
        first, *lines = bench.refusal("Other")
        assert first.startswith("Other may mean 2 certificates in the store of east")
        assert {line[2:18] for line in lines} == {each.certificate.fingerprint[:16] for each in (OTHER, ALIEN)}

    def test_a_friendly_name_that_looks_like_a_fingerprint_misleads_nobody(self, bench: Bench) -> None:
        fingerprint = ACCESS.certificate.fingerprint
        bench.east.put(ALIEN, name=fingerprint[:8]).put(OTHER, name=fingerprint)
        assert bench.refusal(fingerprint[:8])[0].startswith(f"{fingerprint[:8]} may mean 2 certificates")
        assert bench.export(fingerprint).live.certificate == ACCESS.certificate

    def test_a_declared_name_is_not_taken_over_by_a_friendly_name(self, bench: Bench) -> None:
        bench.east.put(ALIEN, name="access")
        assert bench.export("access").live.certificate == ACCESS.certificate
        bench.east.drop(ACCESS.certificate.fingerprint)
        assert bench.refusal("access")[0].startswith("the certificate that is declared as access is not in the store")

    def test_what_is_declared_and_broken_is_not_guessed(self, bench: Bench) -> None:
        bench.east.put(ALIEN, name="broken")
        assert bench.refusal("broken") == ["what broken.yaml declares is not understood - run `reconciler validate`"]

    def test_of_what_appliances_make_the_newest_of_the_site_counts(self, bench: Bench) -> None:
        bench.east.keys[OLDER.public_key] = bench.west.keys[NEWER.public_key] = private_key(ACCESS.key)
        bench.east.add(OLDER, "Own")
        assert bench.export("own").live.certificate == OLDER
        bench.west.add(NEWER, "Own")
        assert bench.refusal("own")[0].startswith("the certificate that is declared as own is not in the store of east")
        bench.files["appliances/west.yaml"] += f"\nretired: [{{sha256: '{NEWER.fingerprint}', reason: exposed}}]"
        assert bench.export("own").live.certificate == OLDER

    def test_a_member_that_cannot_be_reached_does_not_keep_others_from_exporting(self, bench: Bench) -> None:
        bench.east.keys[OLDER.public_key] = private_key(ACCESS.key)
        bench.east.add(OLDER, "Own")
        bench.west.faults["observe", 1] = Fault.UNREACHABLE
        assert bench.export("own").live.certificate == OLDER

    def test_names_that_somebody_else_chose_stay_on_their_line(self, bench: Bench) -> None:
        row = bench.east.rows[OTHER.certificate.fingerprint]
        bench.east.rows[OTHER.certificate.fingerprint] = type(row)(row.certificate, HOSTILE, has_key=True)
        lines = bench.refusal(HOSTILE[:40])
        assert len(lines) == 1 + len(bench.east.rows)
        assert all(line.isprintable() and len(line) < 200 for line in lines)
        exported = bench.export(HOSTILE)
        assert exported.live.certificate == OTHER.certificate
        assert exported.name.isprintable()
        assert len(exported.name) < 80


class TestWhatComes:
    @pytest.mark.parametrize(
        ("options", "held"),
        [
            (CERTIFICATE, (True, False, 0)),
            (CHAIN, (False, False, 2)),
            (KEY, (False, True, 0)),
            (EVERYTHING, (True, True, 2)),
        ],
    )
    def test_what_is_in_it_is_told(self, bench: Bench, options: ExportOptions, held: tuple[bool, bool, int]) -> None:
        exported = bench.export("access", options)
        assert (exported.has_certificate, exported.has_key, exported.issuers) == held
        assert exported.missing == ""
        keys = read(exported.file.content, options.passphrase).keys
        assert [each.public_key for each in keys] == [ACCESS.certificate.public_key] * held[1]

    def test_an_issuer_that_the_store_lacks_is_told(self, bench: Bench) -> None:
        bench.east.drop(ACCESS.chain[-1].fingerprint)
        assert bench.export("access", EVERYTHING).missing == "Root One"

    def test_a_refusal_is_the_drivers_own_sentence(self, bench: Bench) -> None:
        bench.east.keys.pop(ACCESS.certificate.public_key)
        with pytest.raises(ActionRefused, match="its key is not in the store"):
            bench.export("access", KEY)

    @pytest.mark.parametrize(
        ("options", "lie", "problem"),
        [
            (CERTIFICATE, OTHER.certificate.der, "the certificate is not in it"),
            (CERTIFICATE, write_pkcs7([ACCESS.certificate, OTHER.certificate]), "not of its chain"),
            (CHAIN, write_pkcs7([*ACCESS.chain, ALIEN.certificate]), "not of its chain"),
            (CERTIFICATE, write_pem([ACCESS.certificate]) + ACCESS.key_pem(), "there is a private key in it"),
            (CERTIFICATE, ACCESS.pkcs12(b"its own"), "does not open with the passphrase"),
            (CERTIFICATE, b"<html>Your session has expired</html>", "not kept: "),
            (KEY, write_pkcs8(private_key(OTHER.key), PASSPHRASE), "the private key of the certificate is not in it"),
            (KEY, ACCESS.certificate.der, "the private key of the certificate is not in it"),
            (KEY, write_pkcs8(private_key(ACCESS.key), None), "the private key in it is not encrypted"),
            (KEY, write_pkcs8(private_key(ACCESS.key), b"its own"), "does not open with the passphrase"),
            (EVERYTHING, ACCESS.pkcs12(None), "the private key in it is not encrypted"),
            (EVERYTHING, OTHER.pkcs12(PASSPHRASE), "the certificate is not in it"),
            (EVERYTHING, write_pkcs8(private_key(ACCESS.key), PASSPHRASE), "the certificate is not in it"),
            (
                EVERYTHING,
                write_pkcs12("n", private_key(ACCESS.key), ACCESS.certificate, [ALIEN.certificate], PASSPHRASE),
                "not of its chain",
            ),
        ],
    )
    def test_something_else_is_not_kept(self, bench: Bench, options: ExportOptions, lie: bytes, problem: str) -> None:
        bench.lie = lie
        with pytest.raises(StoreUnrecognised) as refused:
            bench.export("access", options)
        assert problem in refused.value.message
        assert "\n" not in refused.value.message


def test_certificates_made_for_these_tests_differ() -> None:
    made: list[Certificate] = [ACCESS.certificate, OTHER.certificate, ALIEN.certificate, OLDER, NEWER]
    assert len({each.fingerprint[:8] for each in made}) == len(made)
