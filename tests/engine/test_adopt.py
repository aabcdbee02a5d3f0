"""What appliances hold becomes files after which the plan is empty; whatever cannot is told."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from reconciler.base.errors import StoreUnreachable, UnreadableInput, UsageError
from reconciler.desired.adoption import CHECK_BUILD
from reconciler.desired.beginning import Answers, first_files
from reconciler.desired.writing import write_all
from reconciler.engine.load import load_desired
from reconciler.live.driver import CertificateForm, NewKey
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.pki.writing import write_pem
from tests.support.adopting import Found
from tests.support.authority import DAY, NOW, Authority, self_signed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROOT = Authority.root()
ISSUING = ROOT.intermediate("Example Issuing CA")
NAMES = ["access.example.com", "east-1.example.com", "west-1.example.com"]
ACCESS = ISSUING.issue(NAMES)
EAST = "east-1.example.com"
HOSTS = {name: f"{name}.example.com" for name in ("east-1", "west-1")}


@pytest.fixture
def found(tmp_path: Path) -> Found:
    return Found(tmp_path)


def snapshot(root: Path) -> Mapping[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in sorted(root.rglob("*")) if each.is_file()}


def settled(found: Found) -> None:
    """The promise: validate passes, the plan is empty, and there is nothing more to adopt."""
    assert found.errors() == []
    assert found.actions() == []
    before = snapshot(found.root)
    assert found.adopt().files == {}
    assert snapshot(found.root) == before


def test_one_new_appliance_by_itself(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS, friendly="Access")
    adoption = found.adopt("east-1", hostname=EAST)
    assert adoption.adopted == (("access", "appliance east-1"),)
    assert (adoption.left, adoption.troubles, adoption.accepted, adoption.changes) == ((), (), (), ())
    settled(found)
    state = load_desired(found.root)
    declared = state.certificates["access"].model
    assert declared.subject_alternative_names == tuple(NAMES)
    assert declared.subject.common_name == "Example remote access"
    assert state.material["access"].leaf == ACCESS.certificate
    assert state.material["access"].chain == ACCESS.chain
    own = state.appliances["east-1"].model
    assert (own.default, own.undeclared, own.certificates) == ("access", "keep", ("access",))
    builds = own.client_software
    assert builds is not None
    assert builds != "none"
    assert [each.installed_at + dt.timedelta(hours=48) < NOW for each in builds] == [True]
    assert builds[0].trusts == ("certificates/access/root.pem",)


def test_no_key_is_written(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    for _, content in found.adopt("east-1", hostname=EAST).files.values():
        assert b"PRIVATE KEY" not in content


def test_what_all_members_hold_is_listed_once_at_the_site(found: Found) -> None:
    found.pair()
    extra = ISSUING.issue(["east-1.example.com"], common_name="Extra")
    found.store("east-1", ACCESS, default=ACCESS, friendly="Access")
    found.store("east-1", extra, friendly="Extra")
    found.store("west-1", ACCESS, default=ACCESS)
    adoption = found.adopt()
    assert dict(adoption.adopted) == {"access": "site access", "extra": "appliance east-1"}
    state = load_desired(found.root)
    assert state.sites["access"].model.default == "access"
    assert state.appliances["east-1"].model.default is None
    assert state.sites["access"].model.client_software != "none"
    settled(found)


def test_members_with_defaults_of_their_own(found: Found) -> None:
    found.pair()
    others = {
        name: self_signed(["access.example.com", f"{name}.example.com"], common_name=name)
        for name in ("east-1", "west-1")
    }
    for name, other in others.items():
        found.store(name, other, default=other)
    adoption = found.adopt()
    state = load_desired(found.root)
    assert state.sites["access"].model.default is None
    assert {name: each.model.default for name, each in state.appliances.items()} == {name: name for name in others}
    assert {each.where for each in adoption.accepted} == {"site access"}
    settled(found)


def test_one_member_adopted_looks_at_the_other(found: Found) -> None:
    found.pair()
    found.store("east-1", ACCESS, default=ACCESS)
    found.store("west-1", ACCESS, default=ACCESS)
    assert [where for _, where in found.adopt("east-1").adopted] == ["site access"]
    settled(found)


def test_a_member_that_cannot_be_observed_stops_everything(found: Found) -> None:
    found.pair()
    found.store("east-1", ACCESS, default=ACCESS)
    with pytest.raises(StoreUnreachable, match=r"(?s)not every appliance could be observed.*west-1: "):
        found.look("east-1")


def test_two_sites_share_one_declaration(found: Found) -> None:
    for name in ("east-1", "west-1"):
        found.store(name, ACCESS, default=ACCESS)
        found.adopt(name, hostname=f"{name}.example.com")
    state = load_desired(found.root)
    assert list(state.certificates) == ["example-remote-access"]
    assert {each.model.certificates for each in state.appliances.values()} == {("example-remote-access",)}
    settled(found)


def test_a_second_member_joins_a_site_that_the_first_began(found: Found) -> None:
    for name in ("east-1", "west-1"):
        found.store(name, ACCESS, default=ACCESS)
        found.adopt(name, hostname=f"{name}.example.com", site="access", site_hostname="access.example.com")
    site = load_desired(found.root).sites["access"].model
    assert (site.hostname, site.topology, site.primary, site.backup) == (
        "access.example.com",
        "failover",
        "east-1",
        "west-1",
    )
    settled(found)
    with pytest.raises(UsageError, match="has its two appliances"):
        found.adopt("third", hostname="third.example.com", site="access")


def test_a_node_joins_an_atlas_site(found: Found) -> None:
    wildcard = ISSUING.issue(["*.example.com"])
    found.write(
        "sites/atlas.yaml",
        "hostname: access.example.com\ntopology: atlas\nprimary: hub-1\ntraffic_nodes: [node-1]\n"
        "client_software: none\n",
    )
    for name in ("hub-1", "node-1", "node-2"):
        found.store(name, wildcard, default=wildcard)
    for name in ("hub-1", "node-1"):
        found.write(f"appliances/{name}.yaml", f"hostname: {name}.example.com\n{found.place(name)}")
    found.adopt()
    found.adopt("node-2", hostname="node-2.example.com", site="atlas")
    assert load_desired(found.root).sites["atlas"].model.traffic_nodes == ("node-1", "node-2")
    settled(found)


def test_a_factory_default_is_told_and_accepted_for_a_time(found: Found) -> None:
    found.store("east-1", ACCESS)
    adoption = found.adopt("east-1", hostname=EAST)
    assert next(each.message for each in adoption.left if "default" in each.message).startswith(
        "its default is BeyondTrust Appliance"
    )
    assert [each.where for each in adoption.accepted] == ["appliance east-1"]
    assert load_desired(found.root).appliances["east-1"].model.acknowledge[0].until == (NOW + 90 * DAY).date()
    settled(found)


def test_an_appliance_with_nothing_but_the_factory_certificate(found: Found) -> None:
    found.store("east-1")
    adoption = found.adopt("east-1", hostname=EAST)
    assert adoption.adopted == ()
    own = load_desired(found.root).appliances["east-1"].model.client_software
    assert own is not None
    assert own != "none"
    assert own[0].trusts[0].startswith("certificates/east-1-roots/beyondtrust-appliance-")
    settled(found)


def test_what_a_renewal_left_behind_stays_until_somebody_takes_it_out(found: Found) -> None:
    older = ISSUING.issue(NAMES, not_before=NOW - 300 * DAY, not_after=NOW + 65 * DAY)
    found.store("east-1", older, ACCESS, default=ACCESS, friendly="Access")
    adoption = found.adopt("east-1", hostname=EAST)
    name = f"access-{older.certificate.fingerprint[:8]}"
    assert [each for each, _ in adoption.adopted] == ["access", name]
    settled(found)
    text = found.file("appliances/east-1.yaml").read_text()
    found.file("appliances/east-1.yaml").write_text(text.replace(f", {name}", ""))
    found.file(f"certificates/{name}.yaml").unlink()
    assert [kind for _, kind, _ in found.actions()] == ["remove"]


YOUNG = ISSUING.issue(NAMES, not_before=NOW - 2 * DAY)


def test_one_that_was_replaced_lately_stays_as_the_previous_one_and_its_end_is_told(found: Found) -> None:
    found.store("east-1", ACCESS, YOUNG, default=YOUNG, friendly="Access")
    adoption = found.adopt("east-1", hostname=EAST)
    assert [each for each, _ in adoption.adopted] == ["access"]
    (told,) = adoption.changes
    until = f"{NOW + 5 * DAY:%Y-%m-%d}"
    assert told.message == (
        f"removes Access: access has taken its place (held until {until}: it stays beside its successor)"
    )
    assert [(kind, state) for _, kind, state in found.actions()] == [("remove", "held")]
    assert found.errors() == []
    assert found.adopt("east-1").files == {}
    found.now = NOW + 6 * DAY
    assert [(kind, state) for _, kind, state in found.actions()] == [("remove", "ready")]


def test_an_older_one_that_is_the_default_is_declared(found: Found) -> None:
    found.store("east-1", ACCESS, YOUNG, default=ACCESS)
    assert len(found.adopt("east-1", hostname=EAST).adopted) == 2
    settled(found)


def test_an_older_one_that_another_member_holds_alone_is_declared(found: Found) -> None:
    found.pair()
    found.store("east-1", ACCESS, YOUNG, default=YOUNG)
    found.store("west-1", ACCESS)
    assert len(found.adopt().adopted) == 2
    settled(found)


def test_an_older_one_with_another_kind_of_key_is_declared(found: Found) -> None:
    other = ISSUING.issue(NAMES, not_before=NOW - 60 * DAY, key_kind="rsa-2048")
    found.store("east-1", other, YOUNG, default=YOUNG)
    assert len(found.adopt("east-1", hostname=EAST).adopted) == 2
    settled(found)


def begin(found: Found) -> None:
    """Write what `init` does for a pair with clients."""
    place = "../../stores/{name}"
    answers = Answers("access", "access.example.com", "failover", HOSTS, "directory", place, clients=True)
    for path, text in first_files(answers, NOW.date()).items():
        found.write(path, text)


def test_what_init_accepted_as_long_as_nothing_is_declared_goes(found: Found) -> None:
    begin(found)
    for name in HOSTS:
        found.store(name, ACCESS, default=ACCESS)
    path = found.file("sites/access.yaml")
    assert path.read_text().count("nothing is declared yet") == 2
    adoption = found.adopt()
    assert adoption.accepted == ()
    assert "acknowledge" not in path.read_text()
    assert f"# {CHECK_BUILD}\nclient_software:\n  - installed_at" in path.read_text()
    settled(found)


def test_but_not_where_nothing_is_adopted_nor_what_a_person_wrote(found: Found) -> None:
    begin(found)
    for name in HOSTS:
        found.store(name)
    found.adopt()
    site = found.file("sites/access.yaml")
    assert site.read_text().count("nothing is declared yet") == 2
    ours = "  - {rule: hostname-covered, reason: ours, until: 2026-12-01}\n"
    site.write_text(site.read_text() + ours)
    for name in HOSTS:
        found.store(name, ACCESS, default=ACCESS)
    found.adopt()
    assert f"\nacknowledge:\n{ours}" in site.read_text()
    assert "nothing is declared yet" not in site.read_text()


def test_what_is_wrong_with_what_was_found_is_accepted_with_another_reason(found: Found) -> None:
    begin(found)
    lone = ISSUING.issue([EAST])
    for name in HOSTS:
        found.store(name, lone, default=lone)
    adoption = found.adopt()
    assert adoption.accepted
    text = found.file("sites/access.yaml").read_text()
    assert "nothing is declared yet" not in text
    assert "as it was found when the appliance was adopted" in text
    settled(found)


def test_an_expired_one_is_not_declared_and_its_removal_is_foretold(found: Found) -> None:
    expired = ISSUING.issue(NAMES, not_before=NOW - 400 * DAY, not_after=NOW - 35 * DAY)
    alone = ISSUING.issue(["old.example.com"], common_name="Old", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    found.store("east-1", expired, alone, ACCESS, default=ACCESS)
    adoption = found.adopt("east-1", hostname=EAST)
    assert sorted("expired on 2026-1" in each.message for each in adoption.left) == [True, True]
    assert [each.message.partition(" ")[0] for each in adoption.changes] == ["removes"]
    assert [kind for _, kind, _ in found.actions()] == ["remove"]
    assert found.errors() == []


@pytest.mark.parametrize(("left", "renew_before"), [(20 * DAY, "10d"), (DAY, "12h"), (dt.timedelta(minutes=90), "45m")])
def test_one_that_is_due_is_put_off_and_told(found: Found, left: dt.timedelta, renew_before: str) -> None:
    due = ISSUING.issue(NAMES, not_before=NOW - 340 * DAY, not_after=NOW + left)
    found.store("east-1", due, default=due)
    adoption = found.adopt("east-1", hostname=EAST)
    assert f"renew_before: {renew_before}\n" in found.file("certificates/example-remote-access.yaml").read_text()
    assert [each.where for each in adoption.accepted] == ["certificate example-remote-access"]
    settled(found)
    found.now = NOW + left * 3 / 4
    assert [kind for _, kind, _ in found.actions()] == ["create_request"]


def test_one_that_ends_within_a_minute_is_not_declared(found: Found) -> None:
    due = ISSUING.issue(NAMES, not_before=NOW - 340 * DAY, not_after=NOW + dt.timedelta(seconds=60))
    found.store("east-1", due)
    adoption = found.adopt("east-1", hostname=EAST)
    assert adoption.adopted == ()
    assert "the plan would act on it: it expires on" in adoption.left[0].message


def test_one_whose_renewal_is_on_its_way_waits(found: Found) -> None:
    due = ISSUING.issue(NAMES, not_before=NOW - 340 * DAY, not_after=NOW + 20 * DAY)
    store = found.store("east-1", due, default=due)
    subject = distinguished_name([("CN", "Example remote access"), ("O", "Example Company"), ("C", "US")])
    form = CertificateForm("Access", NewKey("ec-p256"), subject, tuple(parse_name(each) for each in NAMES))
    store.create_request(form)
    found.adopt("east-1", hostname=EAST)
    assert "renew_before" not in found.file("certificates/example-remote-access.yaml").read_text()
    assert [state for _, _, state in found.actions()] == ["waiting"]
    assert found.errors() == []


def test_a_pending_request_that_nothing_waits_for_is_told(found: Found) -> None:
    store = found.store("east-1", ACCESS, default=ACCESS)
    subject = distinguished_name([("CN", "Other")])
    store.create_request(CertificateForm("Other", NewKey("ec-p256"), subject, (parse_name("other.example.com"),)))
    adoption = found.adopt("east-1", hostname=EAST)
    assert [each.message.startswith("the pending request for Other") for each in adoption.left] == [True]
    settled(found)


def test_self_signed_ones_are_declared_where_clients_exist(found: Found) -> None:
    own = self_signed(["east-1.example.com"])
    found.store("east-1", own, default=own)
    found.adopt("east-1", hostname=EAST)
    assert "Its renewal is asked of a CA." in found.file("certificates/example-remote-access.yaml").read_text()
    builds = load_desired(found.root).appliances["east-1"].model.client_software
    assert builds is not None
    assert builds != "none"
    assert builds[0].trusts == ("certificates/example-remote-access/signed.pem",)
    settled(found)


def test_a_chain_certificate_that_nothing_needs_is_told_and_not_written(found: Found) -> None:
    stranger = Authority.root("Stranger")
    lone = stranger.issue(["x.example.com"])
    store = found.store("east-1", ACCESS, lone, default=ACCESS)
    store.remove(lone.certificate.fingerprint)
    adoption = found.adopt("east-1", hostname=EAST)
    assert [each.message.partition(" (")[0] for each in adoption.left] == ["Stranger"]
    assert not any(b"Stranger" in content for _, content in adoption.files.values())
    settled(found)


def test_a_chain_that_breaks_is_not_declared(found: Found) -> None:
    found.store("east-1", ACCESS, chain=())
    adoption = found.adopt("east-1", hostname=EAST)
    assert adoption.adopted == ()
    assert any("the chain breaks" in each.message for each in adoption.left)
    # What would have been accepted for it is not: a default is missing only where something is declared.
    assert "default-declared" not in found.file("appliances/east-1.yaml").read_text()
    assert found.actions() == []
    assert found.errors() == []


def test_where_one_member_lacks_the_chain_the_other_is_adopted_all_the_same(found: Found) -> None:
    found.pair()
    found.store("east-1", ACCESS, default=ACCESS)
    found.store("west-1", ACCESS, chain=())
    adoption = found.adopt()
    assert adoption.adopted == (("example-remote-access", "appliance east-1"),)
    assert [each.where for each in adoption.left if "a part of its chain is missing" in each.message] == ["west-1"]
    assert found.errors() == []
    assert found.actions() == []
    assert found.adopt().files == {}


ODD = [
    ([], "no subject alternative names", "ec-p256"),
    (["a.example.com", x509.RFC822Name("a@example.com")], "neither a DNS name nor an IP address", "ec-p256"),
    ([x509.DNSName("trailing.example.com.")], "neither a DNS name nor an IP address", "ec-p256"),
    ([x509.DNSName("-a-.example.com")], "neither a DNS name nor an IP address", "ec-p256"),
    (["a.example.com"], "its key is ec-p521", "ec-p521"),
    ([x509.DNSName("*.com")], "", "ec-p256"),
]


@pytest.mark.parametrize(("names", "why", "key"), ODD, ids=range(len(ODD)))
def test_what_cannot_be_declared_is_told_with_what_to_do(
    found: Found, names: list[str | x509.GeneralName], why: str, key: str
) -> None:
    odd = ISSUING.issue(names, common_name="Odd", key_kind=key)
    found.store("east-1", odd, ACCESS, default=ACCESS)
    adoption = found.adopt("east-1", hostname=EAST)
    assert [name for name, _ in adoption.adopted] == ["example-remote-access"]
    (told,) = [
        each for each in adoption.left if "Odd" in each.message or odd.certificate.fingerprint[:12] in each.message
    ]
    assert why in told.message
    assert told.remedy
    settled(found)


def subject(*pairs: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in pairs])


@pytest.mark.parametrize(
    ("pairs", "remark", "common_name"),
    [
        ([], "no common name", "east-1.example.com"),
        ([(x509.NameOID.COMMON_NAME, "x" * 70)], "cut to 64", "x" * 64),
        ([(x509.NameOID.COUNTRY_NAME, "QQ"), (x509.NameOID.COMMON_NAME, "c")], "no code of ISO 3166", "c"),
        (
            [
                (x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "a"),
                (x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "b"),
                (x509.NameOID.COMMON_NAME, "c"),
            ],
            "has more, which a next request will not have: OU.",
            "c",
        ),
    ],
)
def test_subjects_that_do_not_fit_the_form(
    found: Found,
    monkeypatch: pytest.MonkeyPatch,
    pairs: list[tuple[x509.ObjectIdentifier, str]],
    remark: str,
    common_name: str,
) -> None:
    monkeypatch.setattr("tests.support.authority._name", lambda _: subject(*pairs))
    odd = ISSUING.issue(["east-1.example.com"])
    found.store("east-1", odd, default=odd, friendly="Odd")
    found.adopt("east-1", hostname=EAST)
    assert remark in found.file("certificates/odd.yaml").read_text()
    assert load_desired(found.root).certificates["odd"].model.subject.common_name == common_name
    settled(found)


HOSTILE = [
    "../../../etc/passwd",
    "..",
    "a\nb: c",
    "\u202egnp.exe",
    "x" * 5000,
    "- [}{]: *&!|>'\"%@`#",
    "null",
    "2026-01-01",
    "~",
    "\x1b[31mred\x1b[0m",
    "con/aux\\nul",
    "\U0001f600 emoji \U000e0001",
    " ",
]


def visible(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "", text)


@pytest.mark.parametrize("friendly", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_become_safe_files_and_the_same_text(found: Found, friendly: str) -> None:
    issued = ISSUING.issue(["east-1.example.com"], common_name=friendly[:64] or "x")
    found.store("east-1", issued, default=issued, friendly=friendly)
    adoption = found.adopt("east-1", hostname=EAST)
    ((name, _),) = adoption.adopted
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert ".." not in name
    assert len(name) <= 69
    text = found.file(f"certificates/{name}.yaml").read_text("utf-8")
    assert all(line.isprintable() for line in text.split("\n"))
    model = load_desired(found.root).certificates[name].model
    live = found.stores["east-1"].observe().by_fingerprint[issued.certificate.fingerprint]
    assert model.friendly_name == (visible(live.friendly_name) if len(live.friendly_name) <= 200 else None)
    assert model.subject.common_name == visible(issued.certificate.common_name)
    settled(found)


def test_names_are_stable_and_never_those_of_somebody_else(found: Found) -> None:
    found.write("certificates/access/notes.pem", "")
    found.store("east-1", ACCESS, default=ACCESS, friendly="Access")
    first = found.look("east-1", hostname=EAST)
    assert [name for name, _ in first.adopted] == [f"access-{ACCESS.certificate.fingerprint[:8]}"]
    assert found.look("east-1", hostname=EAST) == first


@pytest.mark.parametrize(
    ("there", "friendly"), [("notes", "notes"), ("root.pem", "root.pem"), ("access.yml", "access")]
)
def test_nor_those_of_a_file_that_is_there(found: Found, there: str, friendly: str) -> None:
    found.write(f"certificates/{there}", "")
    found.store("east-1", ACCESS, default=ACCESS, friendly=friendly)
    adoption = found.adopt("east-1", hostname=EAST)
    assert [name for name, _ in adoption.adopted] == [f"{friendly}-{ACCESS.certificate.fingerprint[:8]}"]


def test_nor_does_the_folder_of_one_take_the_file_of_another(found: Found) -> None:
    other = ISSUING.issue(["other.example.com"], common_name="Other")
    found.store("east-1", ACCESS, default=ACCESS, friendly="x")
    found.store("east-1", other, friendly="x.yaml")
    names = {name for name, _ in found.adopt("east-1", hostname=EAST).adopted}
    assert names == {"x", f"x.yaml-{other.certificate.fingerprint[:8]}"}
    settled(found)


def test_there_is_always_another_name(found: Found) -> None:
    own = f"access-{ACCESS.certificate.fingerprint[:8]}"
    for name in ("access", own, f"{own}-2"):
        found.write(f"certificates/{name}/notes.pem", "")
    found.store("east-1", ACCESS, default=ACCESS, friendly="Access")
    assert [name for name, _ in found.look("east-1", hostname=EAST).adopted] == [f"{own}-3"]


def test_a_declared_file_is_completed_and_every_other_line_kept(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    text = f"# ours\nhostname:   {EAST}   # aligned\n{found.place('east-1')}\n# nobody yet\n"
    text += "client_software: none   # so far\n# end"
    found.write("appliances/east-1.yaml", text)
    found.adopt("east-1")
    lines = found.file("appliances/east-1.yaml").read_text().splitlines()
    assert lines[:5] == text.splitlines()[:5]
    assert "# end" in lines
    settled(found)


def test_what_somebody_said_of_clients_stays_where_anything_is_declared(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    found.adopt("east-1", hostname=EAST)
    path = found.file("appliances/east-1.yaml")
    kept = path.read_text()
    path.write_text(kept[: kept.index("# From adoption")] + "client_software: none\n")
    other = ISSUING.issue(["more.example.com"], common_name="More")
    found.store("east-1", other)
    found.adopt("east-1")
    assert path.read_text().endswith("client_software: none\n")
    settled(found)


def test_errors_of_a_place_that_declares_something_are_not_accepted_for_it(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    found.adopt("east-1", hostname="elsewhere.example.com")
    path = found.file("appliances/east-1.yaml")
    kept = path.read_text()
    path.write_text(kept[: kept.index("acknowledge")])
    path.write_text(path.read_text() + "client_software: none\n")
    found.store("east-1", ISSUING.issue(["more.example.com"], common_name="More"))
    adoption = found.adopt("east-1")
    assert adoption.accepted == ()
    assert any("covers its own host name" in each.message for each in adoption.troubles)


def test_a_layout_that_would_not_survive_is_refused_with_what_to_write(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    text = f"hostname: {EAST}\n{found.place('east-1')}certificates: [\n]\nclient_software: none\n"
    found.write("appliances/east-1.yaml", text)
    with pytest.raises(UnreadableInput, match=r"(?s)would not keep.*certificates: \[example-remote-access\]"):
        found.look("east-1")


def test_an_interrupted_adoption_is_taken_up_again(found: Found) -> None:
    found.pair()
    found.store("east-1", ACCESS, default=ACCESS)
    found.store("west-1", ACCESS, default=ACCESS)
    adoption = found.look()
    for count in range(len(adoption.files)):
        left = dict(list(adoption.files.items())[:count])
        write_all(found.root, left)
        again = found.look()
        assert {path: new for path, (_, new) in again.files.items()} == {
            path: new for path, (_, new) in adoption.files.items() if path not in left
        }
        for path, (before, _) in left.items():
            if before is None:
                found.file(path).unlink()
            else:
                found.file(path).write_bytes(before)


def test_certificates_of_the_appliance_itself_are_left_alone(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    broken = "hostname: [\n"
    found.write("appliances/west-1.yaml", broken)
    found.adopt("east-1", hostname=EAST)
    with pytest.raises(UsageError, match=r"no appliance west-1 is declared that could be read: .*west-1\.yaml"):
        found.look("west-1")
    with pytest.raises(UsageError, match="no appliance north is declared that could be read"):
        found.look("north")
    with pytest.raises(UsageError, match="no site nowhere"):
        found.look(site="nowhere")


@pytest.mark.parametrize("name", ["../x", "X", "a b", ""])
def test_a_name_that_could_be_no_file_is_refused(found: Found, name: str) -> None:
    found.store("x")
    with pytest.raises(UsageError):
        found.look(name, hostname=EAST)
    with pytest.raises(UsageError):
        found.look("x", hostname=EAST, site="../y")


def test_a_renewal_by_hand_is_told_and_not_declared_beside_what_it_renews(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    found.adopt("east-1", hostname=EAST)
    found.store("east-1", ISSUING.issue(NAMES, not_before=NOW - DAY))
    adoption = found.adopt("east-1")
    assert adoption.files == {}
    (told,) = adoption.left
    assert "it is newer than the declared example-remote-access" in told.message
    assert told.remedy == "commit it as example-remote-access"


def test_what_the_policy_would_not_have_is_accepted_for_a_time(found: Found) -> None:
    found.write("fleet.yaml", "policy: {keys: [rsa-2048]}\n")
    found.store("east-1", ACCESS, default=ACCESS)
    adoption = found.adopt("east-1", hostname=EAST)
    assert [each.where for each in adoption.accepted] == ["certificate example-remote-access"]
    assert "rule: key-policy" in found.file("certificates/example-remote-access.yaml").read_text()
    settled(found)


def test_a_default_that_was_forgotten_is_added(found: Found) -> None:
    found.store("east-1", ACCESS, default=ACCESS)
    found.adopt("east-1", hostname=EAST)
    path = found.file("appliances/east-1.yaml")
    path.write_text(path.read_text().replace("default: example-remote-access\n", ""))
    assert list(found.adopt("east-1").files) == ["appliances/east-1.yaml"]
    assert load_desired(found.root).appliances["east-1"].model.default == "example-remote-access"
    settled(found)


def test_what_is_declared_already_is_listed_under_its_name(found: Found) -> None:
    found.write(
        "certificates/ours.yaml",
        "subject: {common_name: x}\nsubject_alternative_names: [access.example.com, east-1.example.com, "
        "west-1.example.com]\nkey: ec-p256\nsource: {kind: provided, certificate: o/leaf.pem, key: o/key.pem, "
        "passphrase: {env: X}, chain: [o/issuing.pem, o/root.pem]}\n",
    )
    found.write("certificates/trial.yaml", "subject: {common_name: t}\nsubject_alternative_names: [t.example.com]\n")
    found.file("certificates/trial.yaml").write_text(
        found.file("certificates/trial.yaml").read_text() + "source: {kind: self_signed}\n"
    )
    (found.root / "certificates/o").mkdir()
    found.file("certificates/o/leaf.pem").write_bytes(ACCESS.pem())
    found.file("certificates/o/key.pem").write_bytes(ACCESS.key_pem(b"a passphrase"))
    for name, each in zip(("issuing", "root"), ACCESS.chain, strict=True):
        found.file(f"certificates/o/{name}.pem").write_bytes(write_pem([each]))
    found.store("east-1", ACCESS, default=ACCESS)
    adoption = found.adopt("east-1", hostname=EAST)
    assert list(adoption.files) == ["appliances/east-1.yaml"]
    own = load_desired(found.root).appliances["east-1"].model
    assert (own.certificates, own.default) == (("ours",), "ours")
    assert own.client_software is not None
    assert own.client_software != "none"
    assert own.client_software[0].trusts == ("certificates/o/root.pem",)
    settled(found)
