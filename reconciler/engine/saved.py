"""Saved plans: what was reviewed, kept in a file, and the check that it is still what would be done.

A plan is not carried out because a file says so. It is made again, for the instant at which the saved one was made and
from the desired state and the stores as they are now; only if both agree is anything done.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reconciler.base.errors import StaleError, UnreadableInput, UsageError
from reconciler.base.references import format_duration
from reconciler.engine.files import write_public
from reconciler.plan.digest import digest, substance
from reconciler.plan.model import FORMAT_VERSION, Plan
from reconciler.plan.rules import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.plan.model import AppliancePlan, Basis

MAX_AGE = dt.timedelta(days=7)
"""How old a saved plan may be when it is applied, unless something else is asked for."""
_LARGEST = 256 * 1024 * 1024
_CLOCKS_DIFFER = dt.timedelta(minutes=5)
_LONG = dt.timedelta(hours=2)
_SHORT = 12
PLAN_AGAIN = "plan again, and have it reviewed again"
"""What to do where a saved plan is not carried out."""
_SAVE = "save one with `reconciler plan --out`"
_MAJOR = FORMAT_VERSION.partition(".")[0]


def save_plan(plan: Plan, path: Path) -> None:
    """Write a plan to a file.

    Raises:
        UsageError: Something is there that is no regular file.
        UnreadableInput: It cannot be written.
    """
    document = json.loads(plan.model_dump_json(by_alias=True))
    document["checksum"] = _checksum(document)
    write_public(path, (json.dumps(document, indent=2) + "\n").encode())


def read_plan(path: Path) -> Plan:
    """Read a saved plan.

    Raises:
        UnreadableInput: It cannot be read, or is no saved plan of a format that is understood.
        StaleError: Something in it was changed after it was saved.
        UsageError: It was made as of another time.
    """
    document, checksum = _document(path)
    version = str(document.get("format_version", ""))
    if version.partition(".")[0] != _MAJOR:
        raise UnreadableInput(
            f"{path} has the format {version or 'unknown'}, and {FORMAT_VERSION} is understood", PLAN_AGAIN
        )
    if not document.get("checksum"):
        raise UnreadableInput(f"{path} holds a plan that was shown and not saved", _SAVE)
    if document["checksum"] != checksum:
        raise StaleError(f"{path} was changed after it was saved", PLAN_AGAIN)
    try:
        # A newer minor version adds what may be passed over; how to carry it out has not changed.
        plan = Plan.model_validate_json(json.dumps(document), extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"])
        raise UnreadableInput(f"{path} is not understood: {where}: {first['msg']}", PLAN_AGAIN) from None
    if plan.made_at.tzinfo is None:
        raise UnreadableInput(f"{path} does not say in which time zone it was made", PLAN_AGAIN)
    if plan.digest != digest(plan.appliances):
        raise StaleError(f"{path} does not have the digest that it says it has", PLAN_AGAIN)
    if plan.as_of is not None:
        raise UsageError(f"{path} was planned as of another time, so it cannot be applied", "plan again without --at")
    return plan


def check_age(plan: Plan, now: dt.datetime, max_age: dt.timedelta = MAX_AGE) -> None:
    """See that a saved plan is not too old.

    Raises:
        StaleError: It is, or it was made in the future.
    """
    age = now - plan.made_at
    if age > max_age:
        unit = dt.timedelta(hours=1) if age >= _LONG else dt.timedelta(minutes=1)
        old = format_duration(age // unit * unit)
        raise StaleError(f"the plan is {old} old, and {format_duration(max_age)} is allowed", PLAN_AGAIN)
    if -age > _CLOCKS_DIFFER:
        raise StaleError(f"the plan was made in the future, on {plan.made_at:%Y-%m-%d %H:%M} UTC", "check the clocks")


def what_moved(saved: Plan, again: Plan) -> tuple[str, ...]:
    """What makes a plan that is made again another one than the saved one, a sentence each; empty where nothing does.

    Commits and line numbers may differ: a merge or a squash of the reviewed tree is the reviewed tree.
    """
    if saved.digest == again.digest:
        return ()
    return tuple(_moved(saved, again)) or ("the appliances are listed otherwise",)


def _moved(saved: Plan, again: Plan) -> Iterator[str]:
    if saved.basis.desired_digest != again.basis.desired_digest:
        yield f"the desired state is another one: it was {_tree(saved.basis)}, and is {_tree(again.basis)} now"
    before = {each.name: each for each in saved.appliances}
    after = {each.name: each for each in again.appliances}
    for name in sorted(before.keys() | after.keys()):
        if name not in after or name not in before:
            yield f"{name} is {'not declared any more' if name in before else 'declared now'}"
        elif digest((before[name],)) != digest((after[name],)):
            old, new = saved.basis.live_digests.get(name), again.basis.live_digests.get(name)
            changed = "its store has changed; " if old and new and old != new else ""
            yield f"{name}: {changed}{_difference(before[name], after[name])}"


def _tree(basis: Basis) -> str:
    of_commit = f"that of commit {basis.revision[:_SHORT]}" if basis.revision else "the work tree's"
    return f"{of_commit} (SHA-256 {basis.desired_digest[:_SHORT]})"


def _difference(before: AppliancePlan, after: AppliancePlan) -> str:
    if before.store != after.store:
        return f"its store is {after.store}, and not {before.store}"
    if before.progress != after.progress:
        why = next((each.message for each in after.findings if each.rule == UNREACHABLE.id), "")
        return f"it was {before.progress.value}, and is {after.progress.value} now" + (f": {why}" if why else "")
    old, new = ({action.id: action for action in part.actions} for part in (before, after))
    gone = [each for each in old if each not in new]
    come = [each for each in new if each not in old]
    differ = [each for each in old if each in new and substance(old[each]) != substance(new[each])]
    parts = (("not planned any more", gone), ("planned now", come), ("planned otherwise", differ))
    told = [f"{', '.join(ids)} {'is' if len(ids) == 1 else 'are'} {how}" for how, ids in parts if ids]
    if before.follows != after.follows and not told:
        told.append("it comes after other appliances")
    return "; ".join(told or _served(before, after)) or "its actions come in another order"


def _served(before: AppliancePlan, after: AppliancePlan) -> Iterator[str]:
    """What may be served now and could not before, or the other way about, with a name for which that is so."""
    old, new = _candidates(before), _candidates(after)
    for rows, others, how in ((new, old, "may be served for {} now"), (old, new, "is not served for {} any more")):
        for (certificate, label), names in rows.items():
            differ = [each for each in names if each not in others.get((certificate, label), ())]
            if differ:
                some = f"{differ[0]} and {len(differ) - 1} more" if len(differ) > 1 else differ[0]
                yield f"{label} ({certificate[:_SHORT]}) {how.format(some)}"


def _candidates(part: AppliancePlan) -> dict[tuple[str, str], list[str]]:
    """For which names each certificate may be served now, by its SHA-256 and label."""
    found = defaultdict[tuple[str, str], list[str]](list)
    for row in part.serving:
        for each in row.before:
            found[each.certificate, each.label].append(row.name or "clients that send no name")
    return found


def _document(path: Path) -> tuple[dict[str, Any], str]:
    """What a file holds, and the checksum that belongs to that."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise UnreadableInput(f"{path} cannot be read: {error.strerror}", "name a saved plan") from error
    document: Any = None
    if len(content) <= _LARGEST:
        # What nests deep may just be readable and not be writable again for its checksum.
        with suppress(ValueError, RecursionError):
            document = json.loads(content)
            if isinstance(document, dict) and "appliances" in document:
                return document, _checksum(document)
    raise UnreadableInput(f"{path} is no saved plan", _SAVE)


def _checksum(document: dict[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
