"""Loading: what the state holds, what of it is broken, and whose options a store may have."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, Field

from reconciler.base.findings import Finding, Kind, ObjectName, Stops
from reconciler.base.references import (
    EnvironmentSecret,
    MaterialPath,
    Model,
    PlacePath,
    SecretReference,
    StoreConfiguration,
)
from reconciler.desired.load import FOLDERS, load
from reconciler.desired.models import Policy, Provided
from reconciler.desired.tree import Limits, Snapshot, open_tree, read_work_tree
from tests.desired.test_tree import git
from tests.support import corpus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.desired.state import DesiredState


class Directory(StoreConfiguration):
    """A stand-in for the directory driver's options."""

    driver: Literal["directory"]
    path: PlacePath


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("an even number is needed")
    return value


class Trust(Model):
    """What identifies the server."""

    sha256: tuple[str, ...] = ()
    ca: MaterialPath | None = None


class Web(StoreConfiguration):
    """Options as somebody else's driver may have them."""

    driver: Literal["web"]
    url: Annotated[str, Field(pattern="^https://", max_length=40)]
    password: SecretReference
    trust: Trust = Trust()
    level: Literal[1, 2] = 1
    pages: Annotated[int, AfterValidator(_even)] = 2
    ratio: float = 0.5
    verify: bool = True


ONE: Mapping[str, type[StoreConfiguration]] = {"directory": Directory}
TWO: Mapping[str, type[StoreConfiguration]] = {"directory": Directory, "web": Web}


def tree(files: Mapping[str, str] | Mapping[str, str | bytes], links: Mapping[str, str] | None = None) -> Snapshot:
    content = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    return Snapshot(None, content, links or {}, {})


def fleet(changes: Mapping[str, str | bytes] | None = None) -> DesiredState:
    files: dict[str, str | bytes] = {**corpus.read_case(corpus.BASE).files, **(changes or {})}
    return load(tree(files), ONE, display_root="desired-state")


def places(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{each.position} {each.rule}" for each in findings]


def appliance(store: str, drivers: Mapping[str, type[StoreConfiguration]] = TWO) -> list[str]:
    text = f"hostname: a.example.com\nclient_software: none\nstore: {store}\n"
    return [str(each) for each in load(tree({"appliances/a.yaml": text}), drivers, display_root="").findings]


def test_the_state_holds_what_is_declared() -> None:
    state = fleet()
    assert state.findings == ()
    assert sorted(state.sites) == ["access"]
    assert sorted(state.appliances) == ["east-1", "lone", "west-1"]
    assert sorted(state.certificates) == ["access", "lone"]
    assert state.policy.renew_before == dt.timedelta(days=30)
    assert state.fleet is not None
    assert state.site_of("east-1") is state.sites["access"]
    assert state.members_with("west-1") == ("east-1", "west-1")
    assert state.primary_of("west-1") == "east-1"
    assert state.primary_of("lone") == "lone"
    assert state.certificates_of("west-1") == ("access",)
    assert state.default_of("west-1") == "access"
    assert state.hostname_without_sni("west-1") == "access.example.com"
    assert state.hostname_without_sni("lone") == "lone.example.com"
    assert state.protected_names("west-1") == ("access.example.com", "west-1.example.com")
    assert state.protected_names("lone") == ("lone.example.com",)
    store = state.appliances["east-1"].model.store
    assert isinstance(store, Directory)
    assert store.path == "../.stores/east-1"
    source = state.certificates["access"].model.source
    assert isinstance(source, Provided)
    assert source.key == "certificates/access/key.pem"
    assert source.passphrase == EnvironmentSecret(env="ACCESS_KEY")
    assert state.tree.read(source.key).startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_material_is_told_apart_into_leaf_and_chain() -> None:
    material = fleet().material["access"]
    assert material.leaf == corpus.leaf().certificate
    assert material.chain == (corpus.intermediate().certificate, corpus.root().certificate)


def test_a_bundle_is_a_set_and_brings_its_chain_along() -> None:
    text = (
        "subject: {common_name: Example remote access}\nsubject_alternative_names: [access.example.com]\n"
        "source: {kind: requested, signed: access/bundle, chain: [access/root.pem]}\n"
    )
    state = fleet({"certificates/access.yaml": text, "certificates/access/bundle": corpus.RECIPES["leaf.p7b"]()})
    assert state.material["access"].leaf == corpus.leaf().certificate
    assert set(state.material["access"].chain) == {corpus.intermediate().certificate, corpus.root().certificate}
    assert len(state.material["access"].chain) == 2


def test_what_has_no_material_yet_has_none() -> None:
    for source in ("{kind: requested}", "{kind: self_signed}"):
        text = f"subject: {{common_name: X}}\nsubject_alternative_names: [x.example.com]\nsource: {source}\n"
        assert fleet({"certificates/x.yaml": text}).material["x"].leaf is None


def test_builds_are_known_by_subject_and_key_of_their_roots() -> None:
    state = fleet()
    root = corpus.root().certificate
    (build,) = state.builds[ObjectName(Kind.SITE, "access")]
    assert build.trusts == {(root.subject.der, root.public_key)}
    assert state.clients("west-1").builds == (build,)
    assert state.clients("west-1").settle == dt.timedelta(hours=48)
    assert state.clients("lone").builds == ()
    assert ObjectName(Kind.APPLIANCE, "lone") not in state.builds


def test_broken_objects_are_absent_and_say_whom_they_concern() -> None:
    state = fleet({"sites/access.yaml": "hostname: [", "certificates/lone.yaml": "a: 1"})
    assert state.sites == {}
    assert sorted(state.certificates) == ["access"]
    about = {(each.about, each.stops) for each in state.findings if each.rule in ("yaml-syntax", "unknown-key")}
    assert about == {
        (ObjectName(Kind.SITE, "access"), Stops.SITE),
        (ObjectName(Kind.CERTIFICATE, "lone"), Stops.SITE),
    }


def test_a_broken_policy_is_not_guessed() -> None:
    state = fleet({"fleet.yaml": "policy: {renew_before: 60}"})
    assert state.fleet is None
    assert state.policy == Policy()
    assert [each.about for each in state.findings] == [ObjectName(Kind.FLEET, "fleet")]


def test_what_concerns_no_object_stops_none() -> None:
    state = fleet({"elsewhere/x.yaml": "a: 1", "stray": corpus.RECIPES["clear-key"]()})
    assert {(each.rule, each.stops) for each in state.findings} == {
        ("unknown-file", Stops.NOTHING),
        ("clear-key", Stops.NOTHING),
        ("unused-file", Stops.NOTHING),
    }


@pytest.mark.parametrize("content", ["{", "a: 1", ""])
def test_a_name_that_no_encoding_knows_is_told_in_one_that_all_know(content: str) -> None:
    state = fleet({f"{folder}/\udcff.yaml": content for folder in FOLDERS} | {"\udcfe.yaml": "", "\udcfd": ""})
    for folder, kind in FOLDERS.items():
        about = {each.about for each in state.findings if each.rule == "object-name" and folder in str(each.position)}
        assert about == {ObjectName(kind, r"\udcff")}
        assert not any(r"\udcff" in each for each in (state.sites, state.appliances, state.certificates))
    assert "\n".join(f"{each} {each.about}" for each in state.findings).encode()


def test_findings_name_files_as_people_do_and_are_in_order() -> None:
    state = fleet({"fleet.yaml": "a: 1", "appliances/east-1.yaml": "b: 1\na: 1\n", "evil\n\x1b[31m.yaml": ""})
    assert places(state.findings) == [
        "desired-state/appliances/east-1.yaml:1:1 missing-key",
        "desired-state/appliances/east-1.yaml:1:1 missing-key",
        "desired-state/appliances/east-1.yaml:1:1 unknown-key",
        "desired-state/appliances/east-1.yaml:2:1 unknown-key",
        "desired-state/evil\\n\\x1b[31m.yaml:1:1 unknown-file",
        "desired-state/fleet.yaml:1:1 unknown-key",
    ]


def test_too_many_files_are_one_finding(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.yaml").write_text("[")
    state = load(read_work_tree(tmp_path, Limits(files=2)), ONE, display_root="ds")
    assert places(state.findings) == ["ds:1:1 too-many-files"]
    assert state.sites == {}


def test_a_folder_that_ends_like_a_file_is_none() -> None:
    files: dict[str, str | bytes] = {"fleet.yaml": "policy: {}", "shared/v1/root.pem": corpus.RECIPES["root"]()}
    state = load(tree(files, {"shared.yaml": "shared/v1"}), ONE, display_root="")
    assert places(state.findings) == ["shared/v1/root.pem:1:1 unused-file"]


def test_a_revision_gives_the_state_of_its_work_tree(tmp_path: Path) -> None:
    corpus.read_case(corpus.BASE).write(tmp_path)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "commit.gpgsign=false", "commit", "-q", "-m", "first")
    committed = load(open_tree(tmp_path, "HEAD"), ONE, display_root="")
    lying = load(open_tree(tmp_path), ONE, display_root="")
    assert committed.digest == lying.digest
    assert committed.sites == lying.sites
    assert committed.material == lying.material
    assert committed.revision == git(tmp_path, "rev-parse", "HEAD")
    assert lying.revision is None


# Stores


def test_a_store_has_the_options_of_its_driver() -> None:
    assert appliance("{driver: directory, path: /stores/a}") == []
    assert appliance("{driver: web, url: https://a.example.com, password: {env: A}}") == []


def test_committed_files_of_a_store_are_looked_for() -> None:
    store = "{driver: web, url: https://a.example.com, password: {env: A}, trust: {ca: ../ca.pem}}"
    assert appliance(store) == [
        "appliances/a.yaml:3:82 material-missing there is no file ca.pem - commit it, or correct the path"
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("url: http://a", "3:27 invalid-value `url`: String should match pattern '^https://' - correct the value"),
        ("url: https://" + "a" * 40, "3:27 invalid-value `url` is longer than 40 characters - shorten it"),
        ("pages: 3", "3:29 invalid-value `pages`: an even number is needed - correct the value"),
        ("pages: two", "3:29 invalid-value `pages` should be a whole number, but is text - write a whole number"),
        ("pages: 1.5", "3:29 invalid-value `pages` should be a whole number, but is a number - write a whole number"),
        ("ratio: a", "3:29 invalid-value `ratio` should be a number, but is text - write a number"),
        ("verify: yes", "3:30 invalid-value `verify` should be true or false, but is text - write true or false"),
        ("level: 3", "3:29 invalid-value `level` should be one word, but is a number - write 1 or 2"),
        ("trust: 3", "3:29 invalid-value `trust` should be a mapping of keys to values, but is a number - "),
        ("trust: {sha265: []}", "3:30 unknown-key the key `sha265` means nothing here - did you mean `sha256`?"),
        ("trust: {sha256: [1]}", "3:39 invalid-value entry 1 of `sha256` should be text, but is a number - put it in "),
        ("password: hunter2", "3:32 secret-literal `password`: a secret may not be written here - refer to it: "),
        ("password: {env: hunter2-}", "3:38 invalid-value `env`: this is not the name of an environment variable - "),
        ("password: {file: a}", "3:39 secret-literal `file`: the file of a secret may not lie inside the desired "),
        ("password: {env: A, file: B}", "3:32 invalid-value `password`: this is not a reference to a secret - refer "),
        ("web: 1", "3:22 unknown-key the key `web` means nothing here - known keys: driver, url, password, trust, "),
        ("path: x", "3:22 unknown-key the key `path` means nothing here - known keys: driver, url, password, trust, "),
        ("trust: {ca: /etc/ca.pem}", "3:34 material-outside `ca`: committed material may not be named by an absolute"),
        ("url:", "3:27 invalid-value `url` should be text, but is empty - write text"),
    ],
)
def test_faults_of_a_store_are_told_at_their_place(options: str, expected: str) -> None:
    rest = {"url": "https://a.example.com", "password": "{env: A}"}
    rest.pop(options.partition(":")[0], None)
    store = "{driver: web, " + options + "".join(f", {key}: {value}" for key, value in rest.items()) + "}"
    (finding,) = appliance(store.replace("url:,", "url: ,"))
    assert finding.startswith(f"appliances/a.yaml:{expected}")
    assert "hunter2" not in finding


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("{driver: wbe}", ["3:17 invalid-value `driver` cannot be 'wbe' - write directory or web"]),
        ("{driver: [web]}", ["3:17 invalid-value `driver` should be one word, but is a list - write "]),
        ("{driver: }", ["3:17 invalid-value `driver` should be one word, but is empty - write directory or"]),
        ("{path: x}", ["3:8 missing-key `driver` is missing - add `driver:`"]),
        ("web", ["3:8 invalid-value `store` should be a mapping of keys to values, but is text - write a mapping"]),
        (
            "{driver: web}",
            [
                "3:8 missing-key `password` is missing - add `password:`",
                "3:8 missing-key `url` is missing - add `url:`",
            ],
        ),
    ],
)
def test_faults_of_the_choice_between_drivers(store: str, expected: list[str]) -> None:
    findings = appliance(store)
    assert len(findings) == len(expected)
    for each, start in zip(findings, expected, strict=True):
        assert each.startswith(f"appliances/a.yaml:{start}")


def test_with_one_driver_its_own_name_is_no_key() -> None:
    assert appliance("{driver: path, pth: x}", ONE) == [
        "appliances/a.yaml:3:8 missing-key `path` is missing - add `path:`",
        "appliances/a.yaml:3:17 invalid-value `driver` cannot be 'path' - write directory",
        "appliances/a.yaml:3:23 unknown-key the key `pth` means nothing here - did you mean `path`?",
    ]


# Promises

LINES = st.sampled_from(
    [
        "hostname: a.example.com",
        "store: {driver: directory, path: x}",
        "store: [x]",
        "client_software: none",
        "client_software: [{installed_at: x, trusts: [../a.pem, /b, {c: d}]}]",
        "certificates: [a, [b], {c: d}, 1, '']",
        "primary: a",
        "traffic_nodes: [a, a, {b: c}]",
        "source: {kind: provided, certificate: x/../../.., key: [], chain: {a: b}, passphrase: 1}",
        "source: {kind: requested, signed: '', chain: [., .., '\\0']}",
        "source:",
        "subject: [common_name]",
        "acknowledge: [{}]",
        "retired: {sha256: x}",
        "- a",
        "{",
        "? [a]",
        "policy: {keys: {}, removals_at_most: .nan}",
        "policy: &a [*a]",
    ]
)
PATHS = st.sampled_from(
    ["fleet.yaml", "sites/a.yaml", "appliances/a.yaml", "certificates/a.yaml", "sites/b.yml", "a.pem", "x/\udc80.yaml"]
)


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(PATHS, st.lists(LINES, max_size=6).map("\n".join).map(str.encode) | st.binary(max_size=60)),
    st.dictionaries(
        st.sampled_from(["sites/l.yaml", "l.pem", "sites/a"]), st.sampled_from(["a.yaml", "..", "../l.pem"])
    ),
)
def test_whatever_is_committed_gives_findings_and_nothing_else(files: dict[str, bytes], links: dict[str, str]) -> None:
    for each in load(tree(files, links), TWO, display_root="ds").findings:
        assert str(each).isprintable()
        assert each.remedy
        assert each.position


def test_ten_thousand_files_take_seconds() -> None:
    files: dict[str, str | bytes] = dict(corpus.read_case(corpus.BASE).files)
    for index in range(3_333):
        name = f"n{index}"
        files[f"sites/{name}.yaml"] = (
            f"hostname: {name}.example.com\nprimary: {name}\ncertificates: [{name}, missing-{index}]\n"
            "client_software: none\nsetle: 1d\n"
        )
        files[f"appliances/{name}.yaml"] = (
            f"hostname: {name}-1.example.com\nplatform: virtual\nstore: {{driver: directory, path: ../../s/{name}}}\n"
        )
        files[f"certificates/{name}.yaml"] = (
            f"subject: {{country: US, state: Mississippi, organization: Example, common_name: {name}}}\n"
            f"subject_alternative_names: [{name}.example.com, {name}-1.example.com]\nkey: rsa-2048\nrenew_before: 30d\n"
            f"source: {{kind: requested, signed: missing/{index}.pem, chain: [access/root.pem]}}\n"
        )
    start = time.perf_counter()
    state = load(tree(files), ONE, display_root="")
    assert time.perf_counter() - start < 60
    assert len(state.findings) == 3 * 3_333
    assert len(state.certificates) == 3_335
