from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests.rules.fleet import C_LONE, C_SINGLE, LONE, Broken, edit, intermediate, issued, root
from tests.support.authority import Authority, self_signed

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate

CHAIN = "chain: [intermediate.pem, root.pem]"
ANSWER = "  signed: single/signed.p7b\n"
SIGNED = f"certificates/{ANSWER.split()[1]}"


def chained(chain: str, **files: tuple[Certificate, ...]) -> Broken:
    """The lone appliance's certificate with another chain."""
    return Broken(
        {C_LONE: [(CHAIN, f"chain: {chain}")]}, {f"certificates/{name}.pem": each for name, each in files.items()}
    )


def test_a_certificate_of_another_ca_is_named_at_its_file() -> None:
    fleet = chained("[intermediate.pem, other.pem, root.pem]", other=(Authority.root("Other").certificate,))
    assert fleet.found() == [("chain-stranger", "warning", f"{C_LONE}: other.pem, root.pem]")]
    message = "the file holds 'Other', which issued neither 'Example remote access' nor an issuer of it"
    assert fleet.check()[0].message == message


def test_strangers_of_one_file_are_told_together() -> None:
    others = tuple(Authority.root(name).certificate for name in ("Other", "\x1b[2JThird"))
    fleet = chained("[intermediate.pem, root.pem, other.pem]", other=(*others, root().certificate))
    assert fleet.found() == [("chain-stranger", "warning", f"{C_LONE}: other.pem]")]
    assert "'Other' and '\\x1b[2JThird'," in fleet.check()[0].message


def test_a_ca_of_the_same_name_with_another_key_is_a_stranger() -> None:
    fleet = chained("[again.pem, intermediate.pem, root.pem]", again=(Authority.root("Root").certificate,))
    assert fleet.found() == [("chain-stranger", "warning", f"{C_LONE}: again.pem, intermediate.pem, root.pem]")]


def test_a_sister_of_the_issuer_is_a_stranger_once_there_is_an_answer() -> None:
    sister = (root().intermediate("Sister").certificate,)
    files = {"certificates/sister.pem": sister}
    longer = (CHAIN, "chain: [sister.pem, intermediate.pem, root.pem]")
    answered, open_still = Broken({C_SINGLE: [longer]}, files), Broken({C_SINGLE: [longer, (ANSWER, "")]}, files)
    assert answered.found() == [("chain-stranger", "warning", f"{C_SINGLE}: sister.pem, intermediate.pem, root.pem]")]
    assert open_still.found() == []


def test_every_way_up_belongs_to_the_chain() -> None:
    old, older = Authority.root("Old"), Authority.root("Older")
    cross = (old.cross_sign(root()), older.cross_sign(old), old.certificate, older.certificate)
    assert chained("[intermediate.pem, root.pem, cross.pem]", cross=cross).found() == []


def test_more_ways_up_than_are_followed_belong_to_the_chain() -> None:
    top, middle = Authority.root("Top"), Authority.root("Middle")
    leaf = Authority(middle.cross_sign(root()), root().key).issue(["lone.example.com"]).certificate
    mesh = [by.cross_sign(of) for by, of in ((middle, root()), (top, middle)) for _ in range(7)]
    fleet = Broken(
        {C_LONE: [(CHAIN, "chain: [mesh.pem, root.pem]")]},
        {"certificates/lone/leaf.pem": (leaf,), "certificates/mesh.pem": (*mesh, top.certificate)},
    )
    assert fleet.found() == []


def test_a_cross_sign_whose_root_is_elsewhere_belongs_to_the_chain() -> None:
    cross = (Authority.root("Old").cross_sign(root()),)
    assert chained("[intermediate.pem, root.pem, cross.pem]", cross=cross).found() == []


def test_what_is_above_a_gap_is_nobody_s_guess() -> None:
    fleet = chained("[root.pem, other.pem]", other=(Authority.root("Other").certificate,))
    assert [each[0] for each in fleet.found()] == ["chain-incomplete"]


def test_a_self_signed_certificate_needs_no_chain() -> None:
    leaf = self_signed(["lone.example.com"], common_name="Lone").certificate
    fleet = Broken(
        {LONE: [("[../certificates/root.pem]", "[../certificates/lone/leaf.pem]")]},
        {"certificates/lone/leaf.pem": (leaf,)},
    )
    assert fleet.found() == [
        ("chain-stranger", "warning", f"{C_LONE}: intermediate.pem, root.pem]"),
        ("chain-stranger", "warning", f"{C_LONE}: root.pem]"),
    ]


def test_the_leaf_may_be_listed_again() -> None:
    leaf = issued("lone.example.com").certificate
    assert chained("[full.pem, root.pem]", full=(leaf, intermediate().certificate)).found() == []


def test_before_there_is_an_answer_the_larger_group_is_the_chain() -> None:
    other = Authority.root("Other").certificate
    fleet = Broken(
        {C_SINGLE: [(ANSWER, ""), (CHAIN, "chain: [other.pem, intermediate.pem, root.pem]")]},
        {"certificates/other.pem": (other,)},
    )
    assert fleet.found() == [("chain-stranger", "warning", f"{C_SINGLE}: other.pem, intermediate.pem, root.pem]")]
    assert fleet.check()[0].message == "the file holds 'Other', which is not linked with the rest of the chain"


def test_of_two_groups_as_large_the_one_that_is_listed_first_is_the_chain() -> None:
    fleet = Broken(
        {C_SINGLE: [(ANSWER, ""), (CHAIN, "chain: [root.pem, other.pem]")]},
        {"certificates/other.pem": (Authority.root("Other").certificate,)},
    )
    assert fleet.found() == [("chain-stranger", "warning", f"{C_SINGLE}: other.pem]")]


def test_before_there_is_an_answer_cross_signs_of_one_authority_are_linked() -> None:
    crosses = tuple(Authority.root(name).cross_sign(root()) for name in ("Old", "Older"))
    fleet = Broken({C_SINGLE: [(ANSWER, ""), (CHAIN, "chain: [crosses.pem]")]}, {"certificates/crosses.pem": crosses})
    assert fleet.found() == []


def test_before_there_is_an_answer_groups_join_where_a_later_file_links_them() -> None:
    lower = intermediate().intermediate("Lower").certificate
    fleet = Broken(
        {C_SINGLE: [(ANSWER, ""), (CHAIN, "chain: [root.pem, lower.pem, intermediate.pem]")]},
        {"certificates/lower.pem": (lower,)},
    )
    assert fleet.found() == []


def test_an_answer_that_cannot_be_read_is_not_the_same_as_none() -> None:
    fleet = Broken(
        {C_SINGLE: [(CHAIN, "chain: [root.pem, other.pem]")]},
        {SIGNED: (), "certificates/other.pem": (Authority.root("Other").certificate,)},
    )
    assert fleet.found() == []


LOWER = intermediate().intermediate("Lower")
ABOVE = {"lower": LOWER.certificate, "intermediate": intermediate().certificate, "root": root().certificate}
LEAF = LOWER.issue(["lone.example.com"]).certificate


@pytest.mark.parametrize("order", list(permutations(ABOVE)))
def test_only_the_way_up_is_in_order(order: tuple[str, ...]) -> None:
    """In files of their own, in one file, and behind the certificate in its file."""
    expected = [] if order == tuple(ABOVE) else ["chain-order"]
    listed = tuple(ABOVE[each] for each in order)
    one_each = Broken(
        {C_LONE: [(CHAIN, f"chain: [{', '.join(f'{each}.pem' for each in order)}]")]},
        {"certificates/lone/leaf.pem": (LEAF,), "certificates/lower.pem": (LOWER.certificate,)},
    )
    assert [each[0] for each in one_each.found()] == expected
    together = Broken(
        {C_LONE: [(CHAIN, "chain: [all.pem]")]},
        {"certificates/lone/leaf.pem": (LEAF,), "certificates/all.pem": listed},
    )
    assert [each[0] for each in together.found()] == expected
    along = Broken({C_LONE: [(f"  {CHAIN}\n", "")]}, {"certificates/lone/leaf.pem": (LEAF, *listed)})
    assert [each[0] for each in along.found()] == expected


def test_the_first_certificate_that_stands_too_early_is_named() -> None:
    fleet = edit(C_LONE, (CHAIN, "chain: [root.pem, intermediate.pem]"))
    assert fleet.found() == [("chain-order", "notice", f"{C_LONE}: root.pem, intermediate.pem]")]
    assert fleet.check()[0].message == "'Root' stands before 'Intermediate', which is beneath it"


def test_what_came_along_is_listed_apart_from_the_chain() -> None:
    answer = (issued("lone.example.com").certificate, intermediate().certificate, root().certificate)
    for chain in ("[intermediate.pem, root.pem]", "[intermediate.pem]", "[root.pem]"):
        fleet = Broken({C_LONE: [(CHAIN, f"chain: {chain}")]}, {"certificates/lone/leaf.pem": answer})
        assert fleet.found() == []
    with_root = (issued("lone.example.com").certificate, root().certificate)
    fleet = Broken({C_LONE: [(CHAIN, "chain: [intermediate.pem]")]}, {"certificates/lone/leaf.pem": with_root})
    assert fleet.found() == []


def test_a_chain_with_a_gap_is_completed_before_it_is_sorted() -> None:
    fleet = Broken(
        {C_LONE: [(CHAIN, "chain: [intermediate.pem, lower.pem]")]},
        {"certificates/lone/leaf.pem": (LEAF,), "certificates/lower.pem": (LOWER.certificate,)},
    )
    assert [each[0] for each in fleet.found()] == ["root-missing"]


@pytest.mark.parametrize(
    "order", ["cross.pem, root.pem, old.pem", "root.pem, cross.pem, old.pem", "cross.pem, old.pem, root.pem"]
)
def test_two_ways_up_may_be_listed_in_any_order_that_goes_up(order: str) -> None:
    old = Authority.root("Old")
    files = {"cross": (old.cross_sign(root()),), "old": (old.certificate,)}
    assert chained(f"[intermediate.pem, {order}]", **files).found() == []
    wrong = chained("[intermediate.pem, old.pem, cross.pem, root.pem]", **files)
    assert wrong.found() == [("chain-order", "notice", f"{C_LONE}: old.pem, cross.pem, root.pem]")]


def test_strangers_are_no_matter_of_order() -> None:
    fleet = chained("[other.pem, intermediate.pem, root.pem]", other=(Authority.root("Other").certificate,))
    assert [each[0] for each in fleet.found()] == ["chain-stranger"]


def test_a_set_has_no_order() -> None:
    answer = (issued("single.example.com").certificate, root().certificate, intermediate().certificate)
    assert Broken({C_SINGLE: [(f"  {CHAIN}\n", "")]}, {SIGNED: answer}).found() == []
