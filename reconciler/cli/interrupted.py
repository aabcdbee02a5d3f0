"""What `plan` and `apply` say first where an apply of a desired state was interrupted.

Only its journal knows that it was. Where none can be read nothing is said: the plan that follows is made from the
stores as they are, and has whatever is left.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.base.errors import UsageError
from reconciler.base.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.apply.history import Entry
    from reconciler.cli.fleet import Scope
    from reconciler.plan.model import Plan
    from reconciler.report.history import AppliedAction


def tell_interrupted(scope: Scope) -> bool:
    """Say on stderr what interrupted applies did, and what they left; whether there was one."""
    entries = _interrupted(scope)
    lines = [line for each in reversed(entries) for line in _lines(each)]
    sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
    sys.stderr.flush()
    return bool(entries)


def applied_before(scope: Scope, plan: Plan) -> str:
    """A line that says when a plan was applied already, or an empty string: nothing moved then but by itself."""
    from reconciler.apply.history import applies_of
    from reconciler.report import words

    entry = next(applies_of(_history(scope), str(scope.state.root), plan.digest), None)
    return f"\n  it was applied on {words.utc(entry.began)}: `reconciler history --show {entry.id}`" if entry else ""


def _interrupted(scope: Scope) -> tuple[Entry, ...]:
    from reconciler.apply.history import interrupted

    return interrupted(_history(scope), str(scope.state.root))


def _history(scope: Scope) -> Iterator[Entry]:
    from reconciler.apply.history import read_history
    from reconciler.engine.journals import journal_folder

    with suppress(UsageError, OSError, ValueError):  # the last where the folder that was named is no path at all
        yield from read_history(journal_folder(scope.settings, os.environ))


def _lines(entry: Entry) -> Iterable[str]:
    from reconciler.apply.result import Outcome
    from reconciler.report import words
    from reconciler.report.history import apply_of

    told = apply_of(entry)
    done = [each for each in told.actions if each.outcome is Outcome.APPLIED]
    unknown = [each for each in told.actions if each.begun and each.outcome is None]
    total = words.counted(len(told.actions), "action")
    yield f"reconciler: the apply of {words.utc(told.began)} was interrupted after {told.done} of {total}"
    if done:
        yield f"  done: {_named(done)}"
    if unknown:
        yield f"  begun, its effect is not known: {_named(unknown)}"
    yield f"  what is left is in this plan, made from the stores as they are; see `reconciler history --show {told.id}`"


def _named(actions: Iterable[AppliedAction]) -> str:
    from reconciler.report import words

    return words.several([f"{each.appliance}: {each.what}" for each in actions])
