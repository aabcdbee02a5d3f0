from __future__ import annotations

from tests.rules.fleet import C_LONE, LONE, PAIR, SINGLE, SOLO, Broken, edit
from tests.support.authority import Authority, self_signed

NO_CHAIN = ("  chain: [intermediate.pem, root.pem]\n", "")
NEW_BUILD = "    trusts: [../certificates/root.pem]\n"


def test_the_newest_build_trusts_every_root() -> None:
    later = NEW_BUILD + "  - installed_at: 2026-11-01T00:00:00Z\n    trusts: [other.pem]\n"
    fleet = Broken({PAIR: [(NEW_BUILD, later)]}, {"sites/other.pem": (Authority.root("Other").certificate,)})
    assert fleet.found() == [("build-trusts-root", "warning", f"{PAIR}: [other.pem]")]
    assert "'Root', the root of certificate pair" in fleet.check()[0].message


def test_an_older_build_is_not_asked() -> None:
    earlier = "client_software:\n  - installed_at: 2025-01-01T00:00:00Z\n    trusts: [other.pem]\n"
    fleet = Broken(
        {PAIR: [("client_software:\n", earlier)]}, {"sites/other.pem": (Authority.root("Other").certificate,)}
    )
    assert fleet.found() == []


def test_the_builds_of_the_site_count_for_certificates_of_its_appliances() -> None:
    fleet = Broken(
        {SOLO: [("", "certificates: [lone]\n")], C_LONE: [NO_CHAIN]},
        {"certificates/lone/leaf.pem": (self_signed(["lone.example.com"]).certificate,)},
    )
    assert [(rule, place) for rule, _, place in fleet.found()] == [
        ("build-trusts-root", f"{LONE}: [../certificates/root.pem]"),
        ("build-trusts-root", f"{SINGLE}: [../certificates/root.pem]"),
    ]


def test_a_provided_self_signed_certificate_is_trusted_as_what_it_is() -> None:
    leaf = self_signed(["lone.example.com"]).certificate
    fleet = Broken(
        {LONE: [("[../certificates/root.pem]", "[../certificates/lone/leaf.pem]")], C_LONE: [NO_CHAIN]},
        {"certificates/lone/leaf.pem": (leaf,)},
    )
    assert fleet.found() == []


def test_a_root_in_a_new_coat_is_the_same_root() -> None:
    """Clients know a root by subject and public key."""
    authority = Authority.root("Rolled")
    again = Authority.root("Rolled", key=authority.key)
    leaf = authority.issue(["lone.example.com"]).certificate
    fleet = Broken(
        {
            LONE: [("[../certificates/root.pem]", "[rolled.pem]")],
            C_LONE: [("[intermediate.pem, root.pem]", "[old-coat.pem]")],
        },
        {
            "certificates/lone/leaf.pem": (leaf,),
            "certificates/old-coat.pem": (authority.certificate,),
            "appliances/rolled.pem": (again.certificate,),
        },
    )
    assert fleet.found() == []


def test_where_no_clients_exist_every_root_will_do() -> None:
    builds = "client_software:\n  - installed_at: 2026-01-01T00:00:00Z\n    trusts: [../certificates/root.pem]\n"
    assert edit(LONE, (builds, "client_software: none\n")).found() == []


def test_a_broken_chain_says_nothing_of_trust() -> None:
    fleet = edit("certificates/lone.yaml", ("chain: [intermediate.pem, root.pem]", "chain: [intermediate.pem]"))
    assert [each[0] for each in fleet.found()] == ["root-missing"]
