"""Adopting what appliances hold: from live stores to the files that declare them, so that the plan is empty.

Nothing is written here. What would be written is laid over the desired state in memory and judged by the rules and the
planner themselves: whatever they would not have, or would act on, is left out and told, until they have nothing to add.
So the promise does not rest on a second opinion of what is declarable.
"""

from __future__ import annotations

import datetime as dt
import posixpath
from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

from reconciler.base.errors import StoreUnreachable, UsageError
from reconciler.base.findings import Kind, Severity, rules
from reconciler.base.memory import without_cycle_search
from reconciler.desired.adoption import (
    CHECK_BUILD,
    Adoption,
    BuildDraft,
    Told,
    acknowledgement,
    safe_name,
)
from reconciler.desired.models import Requested
from reconciler.desired.state import DEFAULT_SETTLE, members
from reconciler.desired.tree import open_tree
from reconciler.desired.writing import Append, Put, edit, scalar
from reconciler.engine.adoptable import Adopted, adopted, committed_paths, form, has_whole_chain, live_roots, why_not
from reconciler.engine.adoption_notes import called, foretold, left_alone, troubles
from reconciler.engine.desk import Desk, Wish
from reconciler.engine.load import find_all
from reconciler.engine.run import observe_fleet, plan_observed
from reconciler.pki.writing import write_pem
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import CreateRequest, Remove
from reconciler.rules.subjects import COUNTRY_CODE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.base.findings import Finding, ObjectName
    from reconciler.desired.models import Appliance, Site
    from reconciler.desired.state import Declared, DesiredState
    from reconciler.desired.writing import Change
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Notify, Observation, Planned
    from reconciler.live.store import LiveCertificate
    from reconciler.plan.model import Action

_AS_FOUND = "as it was found when the appliance was adopted"
_ACCEPTED_FOR = dt.timedelta(days=90)
_SETTLED = dt.timedelta(days=30)


async def adopt(
    root: Path, wish: Wish, settings: OperatorSettings, clock: Clock, *, notify: Notify | None = None
) -> Adoption:
    """Find out what to write. Writes nothing.

    Args:
        root: Folder of the desired state.
        wish: What is to be adopted.
        settings: Operator settings.
        clock: The time.
        notify: Told of progress.

    Raises:
        UsageError: An appliance is not declared, or its file is broken.
        UnreadableInput: A file is laid out in a way that cannot be kept.
        StoreUnreachable: An appliance, or another of its site, could not be observed.
    """
    with without_cycle_search():
        tree = open_tree(root)
        desk = Desk(tree, root, wish)
        state = desk.load(dict.fromkeys(wish.places, b"client_software: none\n"))
        _check_declared(state, wish.appliances)
        only = frozenset(wish.appliances)
        observation = await observe_fleet(state, settings, clock, only=only, notify=notify)
        now = clock()
        before = plan_observed(state, settings, observation, now, only=only)
        _check_observed(state, only, observation)
        return _Adopting(desk, before, settings, only, now).run()


def _check_declared(state: DesiredState, names: Sequence[str]) -> None:
    for name in names:
        if name not in state.appliances:
            problems = [each for each in state.findings if each.about and each.about.name == name]
            told = f": {problems[0]}" if problems else ""
            remedy = "mend it first" if problems else "give --hostname, and --url or --path, to declare it"
            raise UsageError(f"no appliance {name} is declared that could be read{told}", remedy)


def _check_observed(state: DesiredState, only: frozenset[str], observation: Observation) -> None:
    needed = {member for name in only for member in state.members_with(name)}
    failed = {name: error for name, error in observation.failures.items() if name in needed}
    if failed:
        told = "\n".join(f"{name}: {error}" for name, error in sorted(failed.items()))
        raise StoreUnreachable(f"not every appliance could be observed, so nothing is written:\n{told}")


class _Adopting:
    """One run: what is to be declared, and what is left."""

    def __init__(
        self, desk: Desk, before: Planned, settings: OperatorSettings, only: frozenset[str], now: dt.datetime
    ) -> None:
        self.desk, self.before, self.settings, self.only, self.now = desk, before, settings, only, now
        self.state, self.stores = before.state, before.observation.stores
        self.left: list[Told] = []
        self.accepted: dict[tuple[str, str], Told] = {}
        self._acknowledged: dict[str, list[str]] = defaultdict(list)
        self._known: dict[str, str] = {
            each.leaf.fingerprint: name for name, each in self.state.material.items() if each.leaf is not None
        }
        self._adopted: dict[str, Adopted] = {}
        self._replaced: dict[str, LiveCertificate] = {}
        self._names: set[str] = set()
        self._until = (now + _ACCEPTED_FOR).date()
        sites = {site.name: site for name in only if (site := self.state.site_of(name))}
        own = (self.state.appliances[name] for name in only)
        self._places: dict[ObjectName | None, Declared[Site] | Declared[Appliance]] = {}
        self._places.update({each.about: each for each in sites.values()})
        self._places.update({each.about: each for each in own})
        self._empty: set[ObjectName | None] = {
            each.about for each in self._places.values() if not self._listed_anything(each.about)
        }

    def run(self) -> Adoption:
        """Draft, let the rules and the planner judge, and draft again until they have nothing to add."""
        self._find()
        old = {_key(each) for each in self._errors(self.desk.over({})) if each.about not in self._empty}
        while True:
            files = self._files()
            state = self.desk.over(files)
            errors = [each for each in self._errors(state) if _key(each) not in old]
            heeded = [self._heed(error) for error in errors]
            if any(heeded):
                continue
            planned = plan_observed(state, self.settings, self.before.observation, self.now, only=self.only)
            refrained = [self._refrain(action) for action in planned.plan.actions]
            if not any(refrained) and not self._declare_what_would_go(planned.plan.actions):
                break
        left = [told for name in sorted(self.only) for told in left_alone(planned, name)]
        names = [each.name for each in self._adopted.values()]
        return Adoption(
            files=self.desk.changed(files),
            adopted=tuple((name, ", ".join(_listed_by(planned.state, name))) for name in names),
            left=(*self.left, *self._without_chain(), *left),
            troubles=tuple(troubles(planned, self.only, self._places)),
            accepted=tuple(self.accepted.values()),
            changes=tuple(foretold(action) for action in planned.plan.actions),
        )

    def _listed_anything(self, about: ObjectName) -> bool:
        """Whether anything was declared for a site or an appliance before: then its errors are its own."""
        names = members(self.state.sites[about.name].model) if about.kind is Kind.SITE else (about.name,)
        return any(self.state.certificates_of(name) for name in names if name in self.state.appliances)

    def _errors(self, state: DesiredState) -> list[Finding]:
        return [each for each in find_all(state, self.now) if each.severity is Severity.ERROR]

    # What is there

    def _find(self) -> None:
        """Everything with a key that nothing declares, the newest first, so that it gets the plainest name."""
        rows: dict[str, LiveCertificate] = {}
        for name in sorted(self.only):
            for each in self.before.classes[name].values():
                if not each.live.has_key or each.kind not in {CertificateClass.UNDECLARED, CertificateClass.CHAIN}:
                    continue
                fingerprint = each.live.fingerprint
                why = why_not(each.live, self.now)
                if each.newer:
                    why = (f"it is newer than the declared {each.certificate}", f"commit it as {each.certificate}")
                if why and fingerprint not in self._known:
                    self.left.append(Told(name, f"{called(each.live)} is not declared: {why[0]}", why[1]))
                elif fingerprint not in rows:
                    rows[fingerprint] = each.live
        self._forms: set[tuple[object, ...]] = {
            form(each.model.subject.model_dump(exclude_none=True), each.model.subject_alternative_names, each.model.key)
            for each in self.state.certificates.values()
            if isinstance(each.model.source, Requested)
        }
        ordered = sorted(rows.values(), key=lambda each: (-each.certificate.not_before.timestamp(), each.fingerprint))
        defaults = {self.stores[name].default for name in self.only}
        newer: set[tuple[object, ...]] = set()
        for live in ordered:
            if live.fingerprint in self._known:
                continue
            kind = (live.certificate.san_set, live.certificate.key_kind)
            if kind in newer and live.fingerprint not in defaults:
                self._replaced[live.fingerprint] = live
            else:
                self._draft(live)
            newer.add(kind)
        self._rows = tuple(each.fingerprint for each in ordered)

    def _draft(self, live: LiveCertificate) -> None:
        holding = [name for name in sorted(self.stores) if self._holds(name, live.fingerprint)]
        whole = [name for name in holding if has_whole_chain(live.certificate, self.stores[name])]
        made = adopted(live, {name: self.stores[name] for name in whole or holding}, self._is_free, self._forms)
        self._names.add(made.name)
        self._adopted[live.fingerprint] = made

    def _declare_what_would_go(self, actions: Sequence[Action]) -> bool:
        """Declare what a newer one seems to have replaced, but for what the plan lets stay as its previous one for now.

        That one is left out: declared, it would be renewed for ever. Anything else would go at once, or stay unnoticed.
        """
        held = {
            (each.appliance, each.fingerprint)
            for each in actions
            if isinstance(each, Remove) and each.reason.code == "previous" and each.hold and each.hold.until
        }
        going = [
            live
            for fingerprint, live in self._replaced.items()
            if any(self._holds(name, fingerprint) and (name, fingerprint) not in held for name in self.only)
        ]
        for live in going:
            del self._replaced[live.fingerprint]
            self._draft(live)
        return bool(going)

    def _is_free(self, name: str, content: bytes) -> bool:
        return name not in self._names and self.desk.is_free(name, content)

    def _holds(self, appliance: str, fingerprint: str) -> bool:
        row = self.stores[appliance].by_fingerprint.get(fingerprint)
        return row is not None and row.has_key

    def _lists(self, appliance: str, fingerprint: str) -> bool:
        """Whether a certificate can be listed for an appliance: its key and its chain are there."""
        made, name = self._adopted.get(fingerprint), self._known.get(fingerprint)
        if made:
            return appliance in made.holders
        held = {each.certificate for each in self.stores[appliance].certificates}
        return (
            name is not None
            and self._holds(appliance, fingerprint)
            and held.issuperset(self.state.material[name].chain)
        )

    def _without_chain(self) -> Iterator[Told]:
        """What is declared, and not for an appliance that holds it: importing its chain there would be a change."""
        for appliance, fingerprint in product(sorted(self.only), self._rows):
            name = self._name_of(fingerprint)
            listed = name in self.state.certificates_of(appliance) or self._lists(appliance, fingerprint)
            if name is not None and not listed and self._holds(appliance, fingerprint):
                what = called(self.stores[appliance].by_fingerprint[fingerprint])
                why = f"{what}, declared as {name}, is not listed here: a part of its chain is missing"
                yield Told(appliance, why, "import its chain there and adopt again; or list it, and the plan does")

    # What is written

    def _files(self) -> dict[str, bytes]:
        """The files as they should be, what others refer to first."""
        files: dict[str, bytes] = {}
        for each in self._adopted.values():
            files |= each.files(schema=self.desk.schema)
        changes = self._changes()
        self.desk.begun = frozenset(each.document.path for each in self._places.values() if self._is_begun(each))
        software = {path: self._software(path, files) for path in sorted(changes) if self._wants_software(path)}
        for path in [*(each for each in self.desk.wish.files if each not in changes), *sorted(changes)]:
            added = [software[path]] if path in software else []
            files[path] = edit(self.desk.start(path), (*changes.get(path, ()), *added), self.desk.named(path))
        return files

    def _is_begun(self, place: Declared[Site] | Declared[Appliance]) -> bool:
        """Whether anything is listed for a site or an appliance, now or before."""
        names = members(self.state.sites[place.name].model) if place.about.kind is Kind.SITE else (place.name,)
        found = product(set(names) & self.only, self._rows)
        return self._listed_anything(place.about) or any(self._lists(*each) for each in found)

    def _name_of(self, fingerprint: str) -> str | None:
        made = self._adopted.get(fingerprint)
        return made.name if made else self._known.get(fingerprint)

    def _changes(self) -> dict[str, list[Change]]:
        """What each file of a site or an appliance is to say in addition."""
        listed: dict[str, list[str]] = defaultdict(list)
        for fingerprint in self._rows:
            name = self._name_of(fingerprint)
            if name is None:
                continue
            for appliance in sorted(self.only):
                if self._lists(appliance, fingerprint) and name not in self.state.certificates_of(appliance):
                    path = self._place(appliance, fingerprint)
                    if name not in listed[path]:
                        listed[path].append(name)
        changes: dict[str, list[Change]] = {each.document.path: [] for each in self._places.values()}
        for path, names in listed.items():
            if names:
                changes[path].append(Append("certificates", tuple(map(scalar, names))))
        for path, default in self._defaults(listed).items():
            changes[path].append(Put("default", f"default: {scalar(default)}"))
        for path, items in self._acknowledged.items():
            changes[path].append(Append("acknowledge", tuple(items)))
        return changes

    def _place(self, appliance: str, fingerprint: str) -> str:
        """Where a certificate is listed: at the site where all its members hold it, else at the appliance."""
        site = self.state.site_of(appliance)
        if site and all(each in self.stores and self._lists(each, fingerprint) for each in members(site.model)):
            return site.document.path
        return self.state.appliances[appliance].document.path

    def _defaults(self, listed: Mapping[str, list[str]]) -> dict[str, str]:
        """The live defaults where none is declared, at the site where all its members have the same."""
        found: dict[str, str] = {}
        for appliance in sorted(self.only):
            if self.state.default_of(appliance) is not None:
                continue
            own, site = self.state.appliances[appliance].document.path, self.state.site_of(appliance)
            shared = site.document.path if site else own
            name = self._default_on(appliance)
            there = (*self.state.certificates_of(appliance), *listed.get(own, ()), *listed.get(shared, ()))
            if name is None or name not in there:
                continue
            common = site is not None and {self._default_on(each) for each in members(site.model)} == {name}
            by_site = site is not None and name in (*site.model.certificates, *listed.get(shared, ()))
            found[shared if common and by_site else own] = name
        return found

    def _default_on(self, appliance: str) -> str | None:
        fingerprint = self.stores[appliance].default or ""
        each = self.before.classes[appliance].get(fingerprint) if appliance in self.before.classes else None
        if each and each.kind is CertificateClass.DECLARED:
            return each.certificate
        return self._name_of(fingerprint)

    # Clients

    def _wants_software(self, path: str) -> bool:
        """Whether nobody has said yet which clients there are: `none` counts only once something is declared."""
        if path in self.desk.wish.places:
            return True
        place = next(each for each in self._places.values() if each.document.path == path)
        if place.about.kind is Kind.APPLIANCE and self.state.site_of(place.name):
            return False
        said = place.model.client_software
        return said is None or (said == "none" and place.about in self._empty and bool(self._rows))

    def _software(self, path: str, files: dict[str, bytes]) -> Put:
        """A build that trusts the live roots. Never `none`: that would let every root do."""
        name = posixpath.splitext(posixpath.basename(path))[0]
        folder = posixpath.dirname(path)
        concerned = self.state.sites[name].model if folder == "sites" else None
        stores = [self.stores[each] for each in (members(concerned) if concerned else (name,)) if each in self.stores]
        paths = committed_paths(self.state)
        paths |= {each.fingerprint: place for made in self._adopted.values() for place, each in made.material.items()}
        trusts = []
        for root in live_roots(stores):
            place = paths.get(root.fingerprint)
            if place is None:
                file = f"{safe_name(root.subject.display, 'root')}-{root.fingerprint[:8]}.pem"
                place = f"certificates/{name}-roots/{file}"
                files[place] = write_pem([root])
            trusts.append(posixpath.relpath(place, folder))
        settle = (concerned or self.state.appliances[name].model).settle or DEFAULT_SETTLE
        day = (self.now - max(_SETTLED, settle + dt.timedelta(days=1))).replace(hour=0, minute=0, second=0)
        return Put("client_software", BuildDraft(day, tuple(trusts)).text(), CHECK_BUILD)

    # What the rules and the planner say

    def _heed(self, error: Finding) -> bool:
        """Do what can be done about an error that would be new; whether anything was done."""
        about = error.about
        if about is None:
            return False
        made = next((each for each in self._adopted.values() if each.name == about.name), None)
        if about.kind is Kind.CERTIFICATE and made is not None:
            return self._heed_of(made, error)
        if about.kind is Kind.CERTIFICATE or not _may_be_accepted(error):
            return False
        return self._accept(about, error)

    def _heed_of(self, made: Adopted, error: Finding) -> bool:
        if error.rule == COUNTRY_CODE.id and "country" in made.draft.subject:
            self._adopted[made.live.fingerprint] = made.without_country()
        elif _may_be_accepted(error) and (made.name, error.rule) not in self.accepted:
            self._adopted[made.live.fingerprint] = made.acknowledging(self._item(error))
            self.accepted[made.name, error.rule] = Told(f"certificate {made.name}", error.message, error.remedy)
        else:
            self._drop(made, error.message, error.remedy)
        return True

    def _accept(self, about: ObjectName, error: Finding) -> bool:
        key = (str(about), error.rule)
        declared = self._places.get(about)
        if key in self.accepted or declared is None:
            return False
        self.accepted[key] = Told(str(about), error.message, error.remedy)
        self._acknowledged[declared.document.path].append(self._item(error))
        return True

    def _item(self, error: Finding) -> str:
        return acknowledgement(error.rule, _AS_FOUND, self._until)

    def _refrain(self, action: Action) -> bool:
        """Take out, or put off, what would cause an action; whether anything was done.

        A removal is none of these: what a declared certificate has replaced goes, and that is told.
        """
        made = next((each for each in self._adopted.values() if each.name == action.certificate), None)
        if made is None or isinstance(action, Remove) or action.state == "waiting":
            return False
        if isinstance(action, CreateRequest) and made.draft.renew_with == "same_key" and self._is_asked_for(made):
            self._adopted[made.live.fingerprint] = made.with_new_key()
            return True
        later = made.postponed(self.now) if isinstance(action, CreateRequest) else None
        if later is None:
            why = f"the plan would act on it: {action.reason.sentence}"
            self._drop(made, why, "declare it by hand if that is meant")
            return True
        self._adopted[made.live.fingerprint] = later
        ends = f"{made.live.certificate.not_after:%Y-%m-%d}"
        self.accepted[made.name, "due"] = Told(
            f"certificate {made.name}",
            f"it expires on {ends} and is due for renewal; `renew_before: {later.draft.renew_before}` puts that off",
            "take that line out to have its renewal requested",
        )
        return True

    def _is_asked_for(self, made: Adopted) -> bool:
        return any(made.is_asked_for_by(each) for name in made.holders for each in self.stores[name].requests)

    def _drop(self, made: Adopted, why: str, remedy: str) -> None:
        if self._adopted.pop(made.live.fingerprint, None):
            where = ", ".join(made.holders)
            self.left.append(Told(where, f"{called(made.live)} is not declared: {why}", remedy))
            # What was accepted of the places may not be needed without it: that is asked again.
            names = {each.name for each in self._adopted.values()}
            self.accepted = {key: told for key, told in self.accepted.items() if key[0] in names}
            self._acknowledged.clear()


def _listed_by(state: DesiredState, name: str) -> Iterator[str]:
    yield from (str(each.about) for each in state.sites.values() if name in each.model.certificates)
    yield from (str(each.about) for each in state.appliances.values() if name in each.model.certificates)


def _may_be_accepted(error: Finding) -> bool:
    return any(each.id == error.rule and each.acknowledgeable for each in rules())


def _key(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, str(finding.about), finding.message
