"""`reconciler init`: the first files of a new fleet. It asks on a terminal, and is told by options anywhere else."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit
from reconciler.cli.options import DEFAULT_DESIRED_STATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.desired.beginning import Answers

_PLACE = "/etc/haproxy/certificates"
_NAMES = {
    "single": ("east-1",),
    "failover": ("east-1", "west-1"),
    "atlas": ("hub-1", "node-1", "node-2"),
}
_EDITED = ("fleet", "site", "appliance", "certificate", "operator")


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of the new desired state.")
    ] = DEFAULT_DESIRED_STATE,
    *,
    hostname: Annotated[str | None, typer.Option(metavar="NAME", help="The hostname that clients use.")] = None,
    site: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the site; the first part of its hostname unless told."),
    ] = None,
    topology: Annotated[
        Literal["single", "failover", "atlas"] | None, typer.Option(help="How its appliances work together.")
    ] = None,
    appliance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=HOSTNAME]", help="An appliance, the primary first; may be given several times."),
    ] = None,
    store: Annotated[
        Literal["web", "directory"] | None, typer.Option(help="Web interfaces, or certificate directories.")
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="For directories: where each is, {name} standing for the appliance."),
    ] = None,
    clients: Annotated[
        bool | None, typer.Option("--clients/--no-clients", help="Whether clients are installed already.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: take the defaults.")] = False,
) -> Exit:
    """Write the first files of a new fleet, with comments that explain them. Nothing that is there is overwritten."""
    answers = _answers(
        _asking() if not yes else _by_default, hostname, site, topology, appliance or [], store, path, clients
    )
    written, kept = _write(folder, answers)
    _tell(folder, answers, written, kept)
    return Exit.DONE


def _asking() -> Callable[[str, str, str], str]:
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else _by_default


def _ask(question: str, option: str, default: str) -> str:
    sys.stderr.write(f"{question}{f' [{printable(default)}]' if default else ''}: ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise UsageError("nothing was answered, so nothing is written", "run it again, or give the answers as options")
    answer = line.strip() or default
    return answer or _ask(question, option, default)


def _by_default(question: str, option: str, default: str) -> str:
    if not default:
        raise UsageError(f"nobody can be asked: {question}", f"give {option}")
    return default


def _answers(
    ask: Callable[[str, str, str], str],
    hostname: str | None,
    site: str | None,
    topology: str | None,
    appliances: list[str],
    store: str | None,
    path: str | None,
    clients: bool | None,  # noqa: FBT001 - as it was given
) -> Answers:
    from reconciler.desired.beginning import Answers

    hostname = _hostname(hostname or ask("Hostname that clients use", "--hostname", ""))
    label, _, domain = hostname.partition(".")
    site = site or ask("Name of the site, for its files", "--site", label)
    implied = {0: "failover", 1: "single", 2: "failover"}.get(len(appliances), "atlas")
    topology = topology or _choice(ask, "Topology: single, failover or atlas", "--topology", implied, tuple(_NAMES))
    given = appliances or ask("Its appliances, the primary first", "--appliance", " ".join(_NAMES[topology])).split()
    hosts = {}
    for each in given:
        name, _, host = each.partition("=")
        _check_name(name)
        if name in hosts:
            raise UsageError(f"the appliance {name} is named twice", "name it once")
        hosts[name] = _hostname(host or ask(f"Host name of {name}", "--appliance NAME=HOSTNAME", f"{name}.{domain}"))
    _check_name(site)
    if not _fits(topology, len(hosts)):
        needed = {"single": "one appliance", "failover": "two appliances", "atlas": "two appliances or more"}[topology]
        raise UsageError(f"the topology {topology} has {needed}, not {len(hosts)}", "name others, or another topology")
    kind = "directory" if path else "web"
    store = store or _choice(ask, "Stores: web or directory", "--store", kind, ("web", "directory"))
    if store == "directory" and path is None:
        default = _PLACE if len(hosts) == 1 else f"{_PLACE}/{{name}}"
        path = ask("Where each directory is, {name} standing for the appliance", "--path", default)
    if clients is None:
        told = _choice(ask, "Are clients installed already (yes or no)", "--clients", "yes", ("yes", "no"))
        clients = told == "yes"
    return Answers(site, hostname, topology, hosts, store, path or "", clients)


def _check_name(name: str) -> None:
    from reconciler.desired.models import NAME

    if not NAME.fullmatch(name):
        remedy = "use lower-case letters, digits, and dots, dashes and underscores between them"
        raise UsageError(f"'{name}' cannot be the name of a declared object", remedy)


def _fits(topology: str, number: int) -> bool:
    return number == {"single": 1, "failover": 2}.get(topology, max(number, 2))


def _choice(
    ask: Callable[[str, str, str], str], question: str, option: str, default: str, choices: tuple[str, ...]
) -> str:
    while (answer := ask(question, option, default)) not in choices:
        sys.stderr.write(f"write one of {', '.join(choices)}\n")
    return answer


def _hostname(text: str) -> str:
    from reconciler.pki.names import normalize_dns

    try:
        name = normalize_dns(text)
    except ValueError:
        name = ""
    if "." not in name or name.startswith("*."):
        raise UsageError(f"'{text}' is not a host name", "write it in full, like access.example.com")
    return name


def _write(folder: Path, answers: Answers) -> tuple[list[str], list[str]]:
    """Write everything, or nothing; what is beside the desired state already is kept.

    Returns:
        The files that were written and those that were kept, as seen from the folder that they all lie in.
    """
    from reconciler.base.clock import system_clock
    from reconciler.cli.schema import schema_models
    from reconciler.desired.beginning import GITIGNORE, first_files, operator_text
    from reconciler.desired.schema import schema_text
    from reconciler.desired.writing import write_all

    root = folder.resolve()
    own = {f"{root.name}/{path}": text for path, text in first_files(answers, system_clock().date()).items()}
    for path in own:
        if (root.parent / path).exists():
            remedy = "name another folder, or go on with `reconciler adopt`"
            raise UsageError(f"{root.parent / path} is there already", remedy)
    models = {name: each for name, each in schema_models() if name in _EDITED}
    beside = {f"schemas/{name}.schema.json": schema_text(name, each) for name, each in models.items()}
    beside |= {"operator.yaml": operator_text(answers), ".gitignore": GITIGNORE}
    kept = [path for path in beside if (root.parent / path).exists()]
    files = {path: text for path, text in {**beside, **own}.items() if path not in kept}
    root.parent.mkdir(parents=True, exist_ok=True)
    write_all(root.parent, {path: (None, text.encode()) for path, text in files.items()})
    return list(files), kept


def _tell(folder: Path, answers: Answers, written: list[str], kept: list[str]) -> None:
    parent = folder.parent
    lines = ["Written:", *(f"  {parent / path}" for path in written if not path.startswith("schemas/"))]
    lines.append(f"  {parent / 'schemas'}/, by which editors complete and check these files")
    lines += [f"Kept as it was: {parent / path}" for path in kept if not path.startswith("schemas/")]
    operator = parent / "operator.yaml"
    lines += ["", "Next:", f"  export RECONCILER_OPERATOR={operator}"]
    if answers.store == "web":
        lines.append("  set the variables that the files in appliances/ name, and the certificates to `trust`")
    lines.append(f"  reconciler doctor {folder}")
    if answers.clients:
        lines.append(f"  reconciler adopt {folder}     to declare what the appliances hold already")
    else:
        lines.append(f"  see {folder}/certificates/{answers.site}.yaml, the first certificate: its subject and names")
        lines.append(f"  reconciler plan {folder}")
        lines.append("  Do the appliances hold certificates already? Begin again with --clients, and adopt them.")
    sys.stdout.write("".join(printable(line) + "\n" for line in lines))
