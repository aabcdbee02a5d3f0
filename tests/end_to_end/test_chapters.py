"""The chapters of the vendor's guide, each done with YAML, on certificate directories and on simulated appliances.

The CAs are cfssl's signing server and OpenSSL's `ca`, the clients are real TLS clients, and after every apply
`Lifecycle.apply` sees that nothing is left to do and that what is served was foretold.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.base.clock import system_clock
from reconciler.cli.exits import Exit
from reconciler.engine.operator import VARIABLE
from reconciler.plan.model import Import, Remove, SetDefault, State
from reconciler.report.results import Applied
from tests.end_to_end.lifecycle import DIRECTORY, appliance, certificate, living
from tests.support.authorities import cfssl_authority, openssl_authority
from tests.support.authority import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

    from reconciler.plan.model import Plan
    from tests.support.authorities import Authority, OpenSSLAuthority

SITE = """\
hostname: access.example.com
certificates: [access]
default: access
client_software: none
"""
SINGLE = {"sites/access.yaml": SITE + "topology: single\nprimary: east-1\n", **appliance("east-1")}
FAILOVER = {
    "sites/access.yaml": SITE + "topology: failover\nprimary: east-1\nbackup: west-1\n",
    **appliance("east-1"),
    **appliance("west-1"),
}
ATLAS = {
    "sites/access.yaml": SITE + "topology: atlas\nprimary: hub-1\ntraffic_nodes: [node-1, node-2]\n",
    **appliance("hub-1"),
    **appliance("node-1"),
    **appliance("node-2"),
}
NAMES = ("access.example.com", "east-1.example.com", "west-1.example.com")
TODAY = system_clock()
YESTERDAY = f"issued_after: {TODAY - DAY:%Y-%m-%d}\n"


def slow(*values: str) -> ParameterSet:
    return pytest.param(*values, marks=pytest.mark.prove)


def on(*kinds: str, also: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Run on these kinds of appliance; on the other of the two that matter most, and on some more, among the proofs."""
    others = (slow(each) for each in (DIRECTORY, "guide", *also) if each not in kinds)
    return pytest.mark.parametrize("kind", [*kinds, *others])


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> OpenSSLAuthority:
    return openssl_authority(tmp_path_factory.mktemp("openssl") / "ca")


@pytest.fixture(scope="module")
def cfssl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with cfssl_authority(tmp_path_factory.mktemp("cfssl") / "ca") as authority:
        yield authority


@on(DIRECTORY, "guide")
def test_create_a_self_signed_certificate(tmp_path: Path, kind: str) -> None:
    with living(kind, tmp_path, {**SINGLE, **certificate("self_signed, valid_for: 90d", *NAMES[:2])}) as life:
        applied = life.apply()
        assert done(applied) == {"create_self_signed": 1, "set_default": 1}
        assert life.classes() == {"declared": 1}
        life.connect(life.exported("east-1"))


@pytest.mark.parametrize(
    ("kind", "form", "program"),
    [
        slow(DIRECTORY, "DER", "cfssl"),
        (DIRECTORY, "PKCS#7", "OpenSSL"),
        slow(DIRECTORY, "PEM", "OpenSSL"),
        slow(DIRECTORY, "PKCS#12", "cfssl"),
        slow("guide", "DER", "OpenSSL"),
        slow("guide", "PEM", "cfssl"),
        slow("guide", "PKCS#7", "cfssl"),
        ("guide", "PKCS#12", "OpenSSL"),
        slow("later", "PKCS#7", "OpenSSL"),
        slow("other", "PEM with chain", "cfssl"),
    ],
)
def test_create_a_certificate_signed_by_a_certificate_authority(
    tmp_path: Path, kind: str, form: str, program: str, cfssl: Authority, openssl: Authority
) -> None:
    authority = cfssl if program == "cfssl" else openssl
    with living(kind, tmp_path, {**SINGLE, **certificate("requested", *NAMES[:2])}) as life:
        asked = life.apply(waits=True)
        assert done(asked) == {"create_request": 1}
        assert [each.code for each in asked.plan.by_hand] == ["send-request"]
        life.commit(authority, form)
        answered = life.apply()
        assert done(answered) == {"import": 3, "set_default": 1}
        assert life.classes() == {"declared": 1, "chain": 2}
        life.connect(authority.chain[-1])


@on(DIRECTORY)
def test_copy_the_ssl_certificate_to_a_failover_appliance(tmp_path: Path, kind: str, cfssl: Authority) -> None:
    with living(kind, tmp_path, {**FAILOVER, **certificate("requested", *NAMES)}) as life:
        asked = life.apply(waits=True)
        assert [each.appliance for each in asked.plan.actions] == ["east-1"]
        life.commit(cfssl, "PKCS#7")
        answered = life.apply()
        assert sources_of_keys(answered.plan) == {"east-1": "store", "west-1": "peer"}
        assert life.classes() == {"declared": 1, "chain": 2}
        life.connect(cfssl.chain[-1])


@on("guide")
def test_copy_the_ssl_certificate_to_atlas_appliances(tmp_path: Path, kind: str, openssl: Authority) -> None:
    with living(kind, tmp_path, {**ATLAS, **certificate("requested", "*.example.com")}) as life:
        life.apply(waits=True)
        life.commit(openssl, "DER")
        answered = life.apply()
        assert sources_of_keys(answered.plan) == {"hub-1": "store", "node-1": "peer", "node-2": "peer"}
        assert life.classes() == {"declared": 1, "chain": 2}
        life.connect(openssl.chain[-1])


@on(DIRECTORY)
def test_renew_a_certificate_with_the_same_key(tmp_path: Path, kind: str, openssl: Authority) -> None:
    """Its predecessor stays beside it for as long as the policy says."""
    with living(kind, tmp_path, {**FAILOVER, **certificate("requested", *NAMES)}) as life:
        life.begin(openssl, TODAY - 10 * DAY)
        old = life.leaf
        life.add("certificates/access.yaml", YESTERDAY)
        asked = life.apply(waits=True)
        assert done(asked) == {"create_request": 1}
        assert {each.rule for each in asked.plan.all_findings} == {"renewal-due"}
        life.commit(openssl, not_before=TODAY - DAY / 24)
        renewed = life.apply(waits=True)
        assert done(renewed) == {"import": 2, "set_default": 2}
        assert life.classes() == {"declared": 1, "previous": 1, "chain": 2}
        life.connect(openssl.chain[-1])
        assert old
        assert life.leaf
        assert old.public_key == life.leaf.public_key
        assert kinds(life.plan_at(TODAY + 6 * DAY, exits=Exit.HELD)) == {}
        assert kinds(life.plan_at(TODAY + 8 * DAY)) == {"remove": 2}
        life.declare({"fleet.yaml": "policy: {keep_previous: 30m}\n"})
        assert done(life.apply()) == {"remove": 2}


@on(DIRECTORY, also=("later", "other"))
def test_renew_a_certificate_with_a_new_key(tmp_path: Path, kind: str, cfssl: Authority) -> None:
    """Where its predecessor is not to stay, it goes with the same plan."""
    files = {**FAILOVER, **certificate("requested", *NAMES), "fleet.yaml": "policy: {keep_previous: 30m}\n"}
    with living(kind, tmp_path, files) as life:
        life.begin(cfssl, TODAY - 10 * DAY)
        old = life.leaf
        life.add("certificates/access.yaml", YESTERDAY + "renew_with: new_key\n")
        assert done(life.apply(waits=True)) == {"create_request": 1}
        life.commit(cfssl, not_before=TODAY - DAY / 24)
        assert done(life.apply()) == {"import": 2, "set_default": 2, "remove": 2}
        assert life.classes() == {"declared": 1, "chain": 2}
        life.connect(cfssl.chain[-1])
        assert old
        assert life.leaf
        assert old.public_key != life.leaf.public_key


@on(DIRECTORY)
def test_replace_an_ssl_certificate(tmp_path: Path, kind: str, cfssl: Authority, openssl: Authority) -> None:
    """By one of another CA: no member goes over to it before every one has it. Of the old CA nothing is left."""
    files = {**FAILOVER, **certificate("requested", *NAMES), "fleet.yaml": "policy: {keep_previous: 30m}\n"}
    files |= {**appliance("east-1", "undeclared: remove\n"), **appliance("west-1", "undeclared: remove\n")}
    with living(kind, tmp_path, files) as life:
        life.begin(openssl, TODAY - 10 * DAY)
        life.add("certificates/access.yaml", YESTERDAY + "renew_with: new_key\n")
        assert done(life.apply(waits=True)) == {"create_request": 1}
        life.commit(cfssl, not_before=TODAY - DAY / 24)
        replaced = life.apply()
        assert done(replaced) == {"import": 6, "set_default": 2, "remove": 6}
        for each in replaced.plan.actions:
            if isinstance(each, SetDefault) or (isinstance(each, Remove) and each.has_key):
                assert {"east-1/import/access", "west-1/import/access"} <= set(each.depends_on), each.id
        assert life.classes() == {"declared": 1, "chain": 2}
        life.connect(cfssl.chain[-1])


@pytest.mark.prove
def test_a_replacement_waits_for_a_member_that_cannot_follow(
    tmp_path: Path, cfssl: Authority, openssl: Authority
) -> None:
    """The backup's front end does not reload: the primary, which is ready, keeps its default and removes nothing."""
    files = {**FAILOVER, **certificate("requested", *NAMES), "fleet.yaml": "policy: {keep_previous: 30m}\n"}
    with living(DIRECTORY, tmp_path, files) as life:
        life.begin(openssl, TODAY - 10 * DAY)
        life.add("certificates/access.yaml", YESTERDAY + "renew_with: new_key\n")
        life.run("apply", "--yes")
        life.commit(cfssl, not_before=TODAY - DAY / 24)
        operator = Path(life.environ[VARIABLE])
        settings = json.loads(operator.read_text())
        operator.write_text(json.dumps({"reload": {**settings["reload"], "west-1": ["false"]}}))
        told = Applied.model_validate_json(life.run("apply", "--yes", "--format", "json", exits=Exit.FAILED))
        outcomes = {step.action: step.outcome for result in told.results for step in result.steps}
        assert outcomes["west-1/import/access"] == "failed"
        assert outcomes["east-1/import/access"] == "applied"
        waiting = [each.id for each in told.plan.actions if isinstance(each, SetDefault | Remove)]
        assert len(waiting) == 4
        assert {outcomes[each] for each in waiting} == {"not attempted"}
        operator.write_text(json.dumps(settings))
        assert done(life.apply()) == {"set_default": 2, "remove": 2}
        life.connect(cfssl.chain[-1])


@on(DIRECTORY)
def test_replace_a_self_signed_certificate_by_one_that_a_ca_has_signed(
    tmp_path: Path, kind: str, openssl: Authority
) -> None:
    with living(kind, tmp_path, {**SINGLE, **certificate("self_signed, valid_for: 90d", *NAMES[:2])}) as life:
        life.apply()
        life.edit("certificates/access.yaml", "{kind: self_signed, valid_for: 90d}", "{kind: requested}")
        life.apply(waits=True)
        life.commit(openssl)
        assert done(life.apply(waits=True)) == {"import": 3, "set_default": 1}
        assert life.classes() == {"declared": 1, "previous": 1, "chain": 2}
        life.connect(openssl.chain[-1])
        assert kinds(life.plan_at(TODAY + 8 * DAY)) == {"remove": 1}


def done(applied: Applied) -> dict[str, int]:
    """How many actions of each kind were carried out."""
    return dict(Counter(step.kind for result in applied.results for step in result.steps if step.outcome == "applied"))


def kinds(plan: Plan) -> dict[str, int]:
    """How many actions of each kind are ready."""
    return dict(Counter(each.kind for each in plan.actions if each.state is State.READY))


def sources_of_keys(plan: Plan) -> dict[str, str]:
    """Where each appliance gets the key of its certificate from."""
    leaves = (each for each in plan.actions if isinstance(each, Import) and each.role == "leaf")
    return {each.appliance: each.key_source for each in leaves}
