"""The application: its global options, its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler import __version__
from reconciler.base.errors import ReconcilerError, StaleError, UnreadableInput
from reconciler.base.text import printable
from reconciler.cli.adopt import adopt
from reconciler.cli.apply import apply
from reconciler.cli.bundle import bundle
from reconciler.cli.demo import demo
from reconciler.cli.doctor import doctor
from reconciler.cli.exits import Exit
from reconciler.cli.export import export
from reconciler.cli.help import epilog
from reconciler.cli.history import history
from reconciler.cli.init import init
from reconciler.cli.inspect import inspect
from reconciler.cli.lab import lab
from reconciler.cli.log import debug_log
from reconciler.cli.plan import plan
from reconciler.cli.requests import requests
from reconciler.cli.schema import schema
from reconciler.cli.session import Session, session_of
from reconciler.cli.status import status
from reconciler.cli.validate import validate
from reconciler.cli.watch import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INTERRUPTED = 130
app = typer.Typer(
    name="reconciler",
    help="Bring the SSL certificates of BeyondTrust Privileged Remote Access appliances to what committed YAML says.",
    epilog=epilog(
        {
            "validate": "check desired-state/, offline",
            "plan": "what would be done, and why; changes nothing",
            "apply": "show the plan, ask, carry it out",
            "status --appliance east-1": "what its store holds now",
        },
        *Exit,
    ),
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


_PLAN_HELP = epilog(
    {
        "plan": "what would be done, and why",
        "plan --site access --format json": "one site, for a program",
        "plan --revision main --detailed-exitcode": "a commit, for a pipeline",
        "plan --at 2026-12-24": "what falls due until then",
        "plan --out plan.json": "saved, so that it can be reviewed and applied as it is",
        "plan --report comment.md --format github": "a comment and annotations for a pull request",
    },
    Exit.CHANGES,
    Exit.FINDINGS,
    Exit.HELD,
)


def _add(name: str, command: Callable[..., Exit], summary: str, beneath: str) -> None:
    app.command(name, short_help=summary, epilog=beneath)(command)


_add(
    "init",
    init,
    "Write the first files of a new fleet.",
    epilog(
        {
            "init": "asks a few questions",
            "init --yes --hostname access.example.com --topology failover": "takes the defaults for the rest",
            "init --service": "a systemd unit for `reconciler watch`",
        }
    ),
)
_add(
    "adopt",
    adopt,
    "Write YAML for what appliances hold.",
    epilog(
        {
            "adopt east-1 --dry-run": "what would be written for a declared appliance",
            "adopt --site access": "every member of a site",
            "adopt hub-1 --hostname hub-1.example.com --path /etc/haproxy/certificates": "one that is new",
        },
        Exit.STALE,
    ),
)
_add(
    "validate",
    validate,
    "Check the desired state, offline.",
    epilog(
        {
            "validate": "every problem of every file",
            "validate --format github": "annotations for a workflow",
            "validate --list-rules": "all rules, with the guide's sections",
        },
        Exit.FINDINGS,
    ),
)
_add("plan", plan, "Show what would be done, and why.", _PLAN_HELP)
_add("diff", plan, "The same as plan.", _PLAN_HELP)
_add(
    "apply",
    apply,
    "Show the plan, ask, carry it out.",
    epilog(
        {
            "apply": "show the plan, ask, carry it out",
            "apply --appliance east-1": "one appliance",
            "apply --yes --format json": "without asking, for a pipeline",
            "apply plan.json --yes": "what was saved and reviewed, and nothing else",
        },
        Exit.FINDINGS,
        Exit.STALE,
        Exit.FAILED,
    ),
)
_add(
    "watch",
    watch,
    "Keep looking, and apply where it may.",
    epilog(
        {
            "watch": "until it is stopped; the operator settings say what it may do",
            "watch --once": "one turn, for a timer",
            "watch --log json --listen 127.0.0.1:9999": "for a collector of logs; another port",
        },
        Exit.FINDINGS,
        Exit.FAILED,
    ),
)
_add(
    "status",
    status,
    "Show what the stores hold now.",
    epilog(
        {
            "status": "every appliance",
            "status --appliance east-1": "one appliance",
            "status --format json": "for a program",
        },
        Exit.FINDINGS,
    ),
)
_add(
    "doctor",
    doctor,
    "Look whether appliances can be reached and understood.",
    epilog(
        {
            "doctor": "every appliance, and what it serves now",
            "doctor --appliance east-1 --capture pages": "one appliance, and the pages that were met",
            "doctor --format json": "for a program",
        },
        Exit.FINDINGS,
    ),
)
_add(
    "requests",
    requests,
    "List the pending certificate requests.",
    epilog(
        {
            "requests": "every appliance",
            "requests --out requests": "and write what is to be sent to a CA into a folder",
            "requests --site access --format json": "one site, for a program",
        },
        Exit.FINDINGS,
    ),
)
_add(
    "export",
    export,
    "Export a certificate, its key, its chain.",
    epilog(
        {
            "export east-1 access --out access.cer": "what is declared as access",
            "export east-1 1a2b3c4d --include certificate,chain > old.p7b": "one by its SHA-256",
            "export east-1 access --include certificate,key --out access.p12": "asks for a passphrase",
        }
    ),
)
_add(
    "history",
    history,
    "Show what was applied when.",
    epilog(
        {
            "history": "the last applies, and how each ended",
            "history --show 20261123T120000Z-01": "one of them, with its actions",
            "history --limit 100 --format json": "for a program",
        }
    ),
)
_add(
    "inspect",
    inspect,
    "Describe certificate files.",
    epilog(
        {
            "inspect signed.p7b chain/*.pem": "what a CA has sent",
            "inspect leaf.pem --name access.example.com": "whether it covers a name",
        }
    ),
)
_add(
    "bundle",
    bundle,
    "Make the .zip for BeyondTrust Technical Support.",
    epilog(
        {
            "bundle access": "certificates and message; add the screenshot by hand",
            "bundle access --screenshot basics.png": "with the screenshot of Status > Basics",
            "bundle access --take-screenshot east-1": "taken from the web interface of east-1",
            "bundle trial --certificate trial.crt": "with a certificate that the appliance made",
        },
        Exit.FINDINGS,
    ),
)
_add(
    "schema",
    schema,
    "Show the JSON Schemas.",
    epilog({"schema certificate": "one of them", "schema --write schemas": "all of them, into a folder"}),
)
_add(
    "lab",
    lab,
    "Play simulated appliances.",
    epilog(
        {
            "lab": "the fleet of desired-state/, each appliance on a port of its own",
            "lab --folder here --variant later": "in a folder that stays; the pages of a later release",
            "lab --fault east-1:reset_after@5": "the fifth request to east-1 gets no reply",
        }
    ),
)
_add(
    "demo",
    demo,
    "See it work on a small fleet.",
    epilog(
        {"demo": "in a temporary place", "demo --keep here": "in a folder that stays, to look around in"}, Exit.FAILED
    ),
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - the signature that typer calls
    if wanted:
        sys.stdout.write(f"reconciler {__version__}\n")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    *,
    operator: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Operator settings: hosts, reload commands, limits. Else RECONCILER_OPERATOR names the file.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the log, and a traceback where something goes wrong.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    session = session_of(context)
    session.debug, session.operator = debug, operator
    if debug:
        context.with_resource(debug_log())


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code. No exception leaves, and no traceback unless it is asked for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    session = Session()
    try:
        code = _invoke(arguments, session)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone. What is still buffered must not fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.COULD_NOT
    except KeyboardInterrupt:
        _tell("interrupted; running the same command again goes on from what is there")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where every error ends
        why = _why_unwritable() if isinstance(error, OSError) else ""
        return _report(
            UnreadableInput(f"the output cannot be written: {why}", "write it elsewhere") if why else error, session
        )
    return code


def _why_unwritable() -> str:
    """Why what was said cannot be written, or an empty string; what is still buffered is given up."""
    try:
        sys.stdout.write("\n")  # what could not be written before may be forgotten by now
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error.strerror or type(error).__name__
    return ""


def _invoke(arguments: Sequence[str], session: Session) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("reconciler", list(arguments) or ["--help"], obj=session) as context:
            return int(command.invoke(context))
    except typer.Exit as asked:  # after --help and --version
        return asked.exit_code


def _report(error: Exception, session: Session) -> Exit:
    """Say what went wrong and what to do; the traceback only if it was asked for."""
    if session.debug:
        for line in "".join(traceback.format_exception(error)).splitlines():
            sys.stderr.write(printable(line) + "\n")
    match error:
        case StaleError():
            _tell(str(error))
            return Exit.STALE
        case ReconcilerError():
            _tell(str(error))
        case typer.TyperException():
            # A usage error knows the command that it happened in.
            where = getattr(getattr(error, "ctx", None), "command_path", "reconciler")
            _tell(f"{error.format_message().rstrip('.')} - see `{where} --help`")
        case _:
            _tell(
                f"unexpected {type(error).__name__}, a fault of this program - "
                "run `reconciler --debug ...` and report what it shows"
            )
    return Exit.COULD_NOT


def _tell(message: str) -> None:
    first, *others = message.splitlines() or [""]
    for line in (f"reconciler: {first}", *others):
        sys.stderr.write(printable(line) + "\n")
