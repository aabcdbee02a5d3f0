"""What has to come into a store, in which order, and the default."""

from __future__ import annotations

from dataclasses import replace

from reconciler.plan.model import CreateSelfSigned, Import, SetDefault
from reconciler.rules import Stopped
from tests.plan.scenes import (
    OWN,
    SITE,
    Scene,
    chain_of,
    factory,
    found,
    keyed,
    keyless,
    leaf,
    one,
    own,
    part,
    provided,
    steps,
    store,
    two,
)
from tests.support.authority import DAY, NOW, Authority

CURRENT = leaf(one(), start=-10)
SETTLED = (keyed(CURRENT, "current"), *chain_of(one()))
SCENE = Scene({"current": provided(CURRENT)}, default="current")
REQUESTED = (
    "subject: {common_name: Example remote access}\nsubject_alternative_names: [access.example.com]\nkey: ec-p256\n"
    "source: {kind: requested, signed: SIGNED, chain: [chain.pem]}\n"
)


def test_chain_leaf_and_default_in_this_order() -> None:
    plan = SCENE.plan(store())
    assert steps(plan) == ["import Root One", "import Issuer One", "import current", "default current"]
    root, issuer, import_, default = part(plan).actions
    assert isinstance(root, Import)
    assert isinstance(import_, Import)
    assert isinstance(default, SetDefault)
    assert (root.role, import_.role) == ("chain", "leaf")
    assert set(import_.depends_on) == {root.id, issuer.id}
    assert default.depends_on == (import_.id,)
    assert import_.expects.absent == (CURRENT.certificate.fingerprint,)
    assert default.expects.present == (CURRENT.certificate.fingerprint,)
    assert (default.replaces, default.expects.default) == (factory().fingerprint, factory().fingerprint)
    assert plan.summary.model_dump(by_alias=True) == {
        "create": 0,
        "import": 3,
        "set_default": 1,
        "remove": 0,
        "held": 0,
        "waiting": 0,
    }


def test_actions_say_where_they_are_declared() -> None:
    plan = SCENE.plan(store())
    assert [each.source for each in part(plan).actions] == [
        "certificates/current.yaml:5",
        "certificates/current.yaml:5",
        "certificates/current.yaml:5",
        "sites/access.yaml:4",
    ]


def test_issuers_come_first_whatever_the_order_of_the_files() -> None:
    root = Authority.root("A Root")
    upper = root.intermediate("Z Upper")
    lower = upper.intermediate("M Lower")
    issued = leaf(lower)
    for chain in (issued.chain, tuple(reversed(issued.chain))):
        scene = Scene({"current": provided(issued, chain=chain)})
        expected = ["import A Root", "import Z Upper", "import M Lower", "import current"]
        assert steps(scene.plan(store())) == expected


def test_a_chain_that_two_certificates_share_is_imported_once() -> None:
    other = leaf(one(), names=["else.example.org"], common_name="Else")
    plan = Scene({"current": provided(CURRENT), "else": provided(other)}).plan(store())
    assert steps(plan) == ["import Root One", "import Issuer One", "import current", "import else"]
    *chain, first, second = part(plan).actions
    assert set(first.depends_on) == set(second.depends_on) == {each.id for each in chain}


def test_nothing_is_done_where_everything_is_right() -> None:
    plan = SCENE.plan(store(SETTLED, default=CURRENT))
    assert plan.actions == ()
    assert found(plan) == []


def test_a_chain_certificate_that_went_missing_comes_back() -> None:
    assert steps(SCENE.plan(store(keyed(CURRENT, "current"), keyless(one()), default=CURRENT))) == ["import Root One"]


def test_a_certificate_without_its_key_is_imported_again() -> None:
    plan = SCENE.plan(store(keyless(CURRENT, "bare"), chain_of(one())))
    assert steps(plan) == ["import current", "default current"]
    import_ = part(plan).actions[0]
    assert import_.reason.code == "key-missing"
    assert import_.expects.absent == ()


def test_what_takes_the_place_of_another_says_so() -> None:
    before = keyed(leaf(one(), start=-300), "before")
    import_ = part(SCENE.plan(store(before, chain_of(one()), default=before))).actions[0]
    assert import_.reason.code == "replaces"
    assert "before" in import_.reason.sentence


class TestDefault:
    def test_is_set_where_it_differs(self) -> None:
        plan = SCENE.plan(store(SETTLED))
        assert steps(plan) == ["default current"]
        assert part(plan).actions[0].reason.sentence == "it is declared as the default"

    def test_is_set_where_there_is_none(self) -> None:
        live = replace(store(SETTLED), default=None)
        action = part(SCENE.plan(live)).actions[0]
        assert isinstance(action, SetDefault)
        assert (action.replaces, action.expects.default) == (None, None)

    def test_is_left_alone_where_none_is_declared(self) -> None:
        assert steps(replace(SCENE, default=None).plan(store(SETTLED))) == []

    def test_of_the_appliance_comes_before_the_sites(self) -> None:
        other = leaf(one(), start=-20, common_name="Other")
        scene = Scene(
            {"current": provided(CURRENT), "other": provided(other)}, default="current", east="default: other\n"
        )
        plan = scene.plan(store(SETTLED, keyed(other, "other")))
        assert steps(plan) == ["default other"]
        assert part(plan).actions[0].source == "appliances/east.yaml:3"

    def test_is_not_set_to_a_certificate_without_key(self) -> None:
        scene = Scene({"answer": REQUESTED.replace("signed: SIGNED, ", "")}, default="answer")
        assert steps(scene.plan(store(SETTLED))) == ["request answer"]

    def test_of_a_stopped_certificate_is_left_alone(self) -> None:
        planning = SCENE.planning(store(SETTLED), stopped=Stopped(certificates=frozenset({"current"})))
        assert steps(planning.plan) == []


class TestSelfSigned:
    SCENE = Scene({"own": OWN}, default="own")

    def test_is_made_where_there_is_none(self) -> None:
        plan = self.SCENE.plan(store())
        create, default = part(plan).actions
        assert isinstance(create, CreateSelfSigned)
        assert isinstance(default, SetDefault)
        assert create.new == default.target == "new:own@east"
        assert create.subject == (("CN", "Made here"), ("O", "Example Company"))
        assert (create.subject_alternative_names, create.key) == ((SITE,), "ec-p256")
        assert (create.valid_for, create.friendly_name) == (365 * DAY, "own")
        assert default.depends_on == (create.id,)
        assert default.expects.present == ("new:own@east",)

    def test_is_made_anew_when_it_is_due_and_not_a_day_earlier(self) -> None:
        aging = keyed(own(start=-335, end=30), "aging")
        live = store(aging, default=aging)
        assert steps(self.SCENE.plan(live, now=NOW - DAY)) == []
        plan = self.SCENE.plan(live)
        assert steps(plan) == ["create own", "default own"]
        assert part(plan).actions[0].reason.code == "renewal-due"

    def test_its_own_renew_before_comes_before_the_policys(self) -> None:
        aging = keyed(own(start=-335, end=30), "aging")
        for text, policy, due in (("renew_before: 29d\n", "", False), ("", "renew_before: 40d", True)):
            scene = Scene({"own": OWN + text}, default="own", policy=policy)
            assert bool(steps(scene.plan(store(aging, default=aging)))) is due

    def test_is_made_anew_where_it_was_issued_too_early(self) -> None:
        mine = keyed(own(start=-30), "mine")
        scene = Scene({"own": OWN + "issued_after: 2026-11-01\n"}, default="own")
        assert part(scene.plan(store(mine, default=mine))).actions[0].reason.code == "issued-after"
        later = Scene({"own": OWN + "issued_after: 2026-12-01\n"}, default="own")
        assert steps(later.plan(store(mine, default=mine))) == []

    def test_a_friendly_name_is_no_cause_to_make_it_anew(self) -> None:
        mine = keyed(own(), "someone renamed it")
        scene = Scene({"own": "friendly_name: mine\n" + OWN}, default="own")
        assert steps(scene.plan(store(mine, default=mine))) == []

    def test_is_copied_to_the_other_members_once_it_is_made(self) -> None:
        plan = replace(self.SCENE, west="").planning(store(), store()).plan
        assert steps(plan) == ["create own", "default own"]
        assert steps(plan, "west") == ["import own", "default own"]
        copy = part(plan, "west").actions[0]
        assert copy.depends_on == ("east/create/own",)
        assert found(plan) == []


class TestStopped:
    def test_nothing_is_done_for_a_stopped_certificate_and_the_others_go_on(self) -> None:
        other = leaf(two(), names=["else.example.org"], common_name="Else")
        scene = Scene({"current": provided(CURRENT), "else": provided(other)}, default="current")
        planning = scene.planning(store(), stopped=Stopped(certificates=frozenset({"current"})))
        assert steps(planning.plan) == ["import Root Two", "import Issuer Two", "import else"]

    def test_what_is_there_of_a_stopped_certificate_stays(self) -> None:
        scene = replace(SCENE, east="undeclared: remove\n")
        live = store(SETTLED, keyed(leaf(one(), start=-5, names=[SITE, "b.example.com"], common_name="B"), "other"))
        planning = scene.planning(live, stopped=Stopped(certificates=frozenset({"current"})))
        assert steps(planning.plan) == ["remove other"]
