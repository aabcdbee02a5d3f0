"""The planner and the run-time check agree on what harms a protected name, over stores of the small universe.

They share auto-selection and nothing else. The universe is made stranger here: a root that changed its key, roots of
one name, wildcards of odd depth, rules of selection that no driver has, and other instants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from reconciler.apply.safety import Guard
from reconciler.live.store import LiveCertificate
from reconciler.pki.names import parse_name
from reconciler.pki.selection import LIBERAL
from reconciler.plan.goodness import Chains, Judge
from reconciler.plan.model import (
    Action,
    CreateRequest,
    CreateSelfSigned,
    Import,
    KeySource,
    Reason,
    Remove,
    RemoveRequest,
    SetDefault,
)
from reconciler.plan.safety import ProtectedNames, harms
from reconciler.plan.steps import change
from reconciler.plan.world import Entry, World, entry_of
from tests.plan.universe import HAPROXY, SITE, pool, states, stores
from tests.support.authority import DAY, NOW, Authority, make_key, self_signed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from reconciler.desired.state import Clients
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate

WHY = Reason(code="because", sentence="because")
NAMES = (SITE, "east.example.com")
RULES = [
    LIBERAL,
    HAPROXY,
    replace(LIBERAL, common_name=False),
    replace(LIBERAL, certain=True),
    replace(HAPROXY, deep_wildcards=True),
    replace(HAPROXY, common_name=False, certain=False),
]
INSTANTS = [0, 0, 0, -1, -2, 1, 2, 3, 6, 21, 30, 200, 340, 360, 400, -29, -330]


@cache
def strangers() -> tuple[tuple[Certificate, bool], ...]:
    """Certificates that the universe does not have, and whether each has a key."""
    old = Authority.root("Root Rolling", key=make_key())
    new = Authority.root("Root Rolling", not_before=NOW - 300 * DAY)
    under_new = new.intermediate("Issuer Rolling")
    rolled = Authority.root("Root Rolling", key=new.key, not_after=NOW + 2 * DAY)
    forward, back = old.cross_sign(new), new.cross_sign(old, not_after=NOW + DAY)
    leaf = under_new.issue(NAMES, common_name=SITE)
    deep, chain = new, []
    for number in range(3):
        deep = deep.intermediate(f"Deep {number}")
        chain.append(deep.certificate)
    keyed = [
        leaf,
        deep.issue(["*.example.com"]),
        self_signed(NAMES),
        self_signed(["*.example.com"], not_after=NOW + 2 * DAY),
        self_signed(["a.b.example.com", "*.b.example.com", "example.com"], common_name="*.example.com"),
        old.issue([*NAMES, "west.example.com"], not_before=NOW - 2 * DAY, not_after=NOW + 3 * DAY),
        new.issue(["*.com"], common_name="east.example.com"),
    ]
    authorities = [old.certificate, new.certificate, rolled.certificate, under_new.certificate, forward, back, *chain]
    return (*((each.certificate, True) for each in keyed), *((each, False) for each in authorities))


@dataclass(frozen=True)
class Moment:
    """A store, its protected names and clients, and an instant."""

    store: LiveStore
    names: tuple[str, ...]
    clients: Clients
    now: dt.datetime

    def planner_objects(self, action: Action, arriving: Certificate | None) -> bool:
        """Whether the planner finds harm in an action."""
        before = World.of(self.store)
        after = change(before, action, arrivals(action, arriving, self.now))
        judge = Judge(self.clients, self.now, Chains())
        return bool(harms(judge, before, after, ProtectedNames(self.names, self.names[0])))

    def guard_objects(self, action: Action, arriving: Certificate | None) -> str:
        """What the run-time check says of it."""
        return Guard(self.names, self.clients).objection(action, self.store, arriving, {}, self.now)


def arrivals(action: Action, arriving: Certificate | None, now: dt.datetime) -> dict[str, Entry]:
    match action:
        case Import() if arriving:
            return {action.fingerprint: entry_of(arriving, "arriving", has_key=action.role == "leaf")}
        case CreateSelfSigned():
            names = tuple(map(parse_name, action.subject_alternative_names))
            until = now + action.valid_for
            return {action.new: Entry(action.new, "new", None, True, dict(action.subject)["CN"], names, now, until)}  # noqa: FBT003
        case _:
            return {}


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    state = draw(states())
    store = draw(stores())
    more = draw(st.lists(st.sampled_from(strangers()), max_size=8, unique=True))
    rows = {each.fingerprint: each for each in store.certificates}
    rows |= {each.fingerprint: LiveCertificate(each, "strange", has_key) for each, has_key in more}
    keyed = [each.fingerprint for each in rows.values() if each.has_key]
    default = draw(st.sampled_from([store.default, store.default, *keyed]))
    ordered = tuple(rows[each] for each in sorted(rows))
    store = replace(store, certificates=ordered, default=default, rule=draw(st.sampled_from(RULES)))
    further = draw(st.sampled_from([(), ("a.b.example.com",), ("example.com", "else.example.com")]))
    names = tuple(dict.fromkeys((*state.protected_names("east"), *further)))
    now = NOW + draw(st.sampled_from(INSTANTS)) * DAY
    return Moment(store, names, state.clients("east"), now)


def actions(store: LiveStore) -> Iterator[tuple[Action, Certificate | None]]:
    """Every action, sensible or not: the check must not rely on sense."""
    # The planner imports nothing as part of a chain whose key is there; the check would see that it gets it.
    own = {each.certificate.public_key for each in store.certificates if each.has_key}
    own |= {each.public_key for each in store.requests}
    known = [*pool().leaves.values(), *pool().own.values(), *pool().authorities.values()]
    for each in (*known, *(each for each, _ in strangers())):
        yield imported(each), each
        if each.public_key not in own:
            yield imported(each, "chain"), each
    for row in store.certificates:
        yield removed(row.fingerprint), None
        yield default(row.fingerprint), None
    for names in ([SITE], [*NAMES], ["*.example.com"], ["else.example.com"]):
        yield made(*names), None
        yield made(*names, common_name=SITE), None
    yield asked(), None
    yield withdrawn(), None


def imported(certificate: Certificate, role: str = "leaf") -> Import:
    return Import.model_validate(
        {
            "id": "i", "appliance": "east", "label": "arriving", "reason": WHY, "role": role,
            "fingerprint": certificate.fingerprint, "public_key": certificate.public_key,
            "friendly_name": "", "key_source": KeySource.COMMITTED if role == "leaf" else KeySource.NONE,
        }
    )  # fmt: skip


def removed(fingerprint: str) -> Remove:
    return Remove(id="r", appliance="east", label="old", reason=WHY, fingerprint=fingerprint, has_key=True)


def default(target: str) -> SetDefault:
    return SetDefault(id="d", appliance="east", label="new", reason=WHY, target=target, replaces=None)


def made(*names: str, common_name: str = "Made here") -> CreateSelfSigned:
    return CreateSelfSigned(
        id="c", appliance="east", label="made", reason=WHY, new="new:made@east", friendly_name="made",
        subject=(("O", "Example Company"), ("CN", common_name)), subject_alternative_names=names,
        key="ec-p256", valid_for=365 * DAY,
    )  # fmt: skip


def asked() -> CreateRequest:
    return CreateRequest(
        id="q", appliance="east", label="asked", reason=WHY, friendly_name="asked", subject=(("CN", "Asked"),),
        subject_alternative_names=(SITE,), key="ec-p256", public_key=None,
    )  # fmt: skip


def withdrawn() -> RemoveRequest:
    return RemoveRequest(id="w", appliance="east", label="asked", reason=WHY, fingerprint="0" * 64)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(moments())
def test_the_planner_and_the_run_time_check_find_the_same_harm(moment: Moment) -> None:
    for action, arriving in actions(moment.store):
        planner, guard = moment.planner_objects(action, arriving), moment.guard_objects(action, arriving)
        event(f"{action.kind}: {'harm' if planner else 'no harm'}")
        note(f"{action.kind} {arriving.subject if arriving else ''}: {guard!r}, the planner {planner}")
        assert planner == bool(guard)
