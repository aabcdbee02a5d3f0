"""What stands beneath a command's options in its help: examples, and the exit codes that it may end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

MEANINGS = {
    Exit.DONE: "done",
    Exit.COULD_NOT: "could not: usage, unreadable input, unreachable or unrecognised appliance",
    Exit.CHANGES: "with --detailed-exitcode: there are changes",
    Exit.FINDINGS: "findings of severity error: the desired state, or the plan, breaks a rule",
    Exit.STALE: "stale: what was reviewed no longer fits what is there",
    Exit.FAILED: "some appliances failed; the report says which, at which step",
    Exit.HELD: "with --detailed-exitcode: in step, except for what is held or waiting",
}
"""What each exit code tells a person."""


def epilog(examples: Mapping[str, str], *exits: Exit) -> str:
    """Examples and exit codes, as typer shows them without filling lines.

    Args:
        examples: What to type after the program's name, and what it does.
        exits: The exit codes besides 0 and 1, which every command has.
    """
    column = max(len(example) for example in examples) + 2
    typed = [f"  reconciler {example:<{column}}{what}".rstrip() for example, what in examples.items()]
    codes = [f"  {code.value}  {MEANINGS[code]}" for code in sorted({Exit.DONE, Exit.COULD_NOT, *exits})]
    return "\n".join(["\b", "Examples:", *typed, "", "\b", "Exit codes:", *codes])
