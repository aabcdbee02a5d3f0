"""`reconciler init`: the first files of a new fleet. It asks on a terminal, and is told by options anywhere else."""

from __future__ import annotations

import re
import shlex
import sys
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeVar

import typer

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit
from reconciler.cli.options import DEFAULT_DESIRED_STATE
from reconciler.cli.service import write_service
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from reconciler.desired.beginning import Answers

T = TypeVar("T")
_PLACE = "/etc/haproxy/certificates"
_NAMES = {
    "single": ("east-1",),
    "failover": ("east-1", "west-1"),
    "atlas": ("hub-1", "node-1", "node-2"),
}
_EDITED = ("fleet", "site", "appliance", "certificate", "operator")


def init(
    context: typer.Context,
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
    service: Annotated[
        bool, typer.Option("--service", help="For a fleet that is there: write a systemd unit for `watch`, no more.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: take the defaults.")] = False,
) -> Exit:
    """Write the first files of a new fleet, with comments that explain them. Nothing that is there is overwritten."""
    if service:
        return write_service(session_of(context), folder)
    _check_free(folder / "fleet.yaml")  # before anything is asked
    asking = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    try:
        answers = _answers(
            _ask if asking else _by_default, hostname, site, topology, appliance or [], store, path, clients
        )
    except (KeyboardInterrupt, EOFError):
        sys.stderr.write("\n")  # the question has not been answered
        raise UsageError("interrupted; nothing was written") from None
    written, kept = _write(folder, answers)
    _tell(folder, answers, written, kept)
    return Exit.DONE


class _Asking(Protocol):
    """How an answer is come by, an option that would give it, and the default if there is one."""

    def __call__(self, question: str, option: str, default: str, read: Callable[[str], T]) -> T: ...


def _ask(question: str, option: str, default: str, read: Callable[[str], T]) -> T:  # noqa: ARG001 - see `_Asking`
    """Ask a person, again where the answer makes no sense.

    Raises:
        EOFError: Nobody answers any more.
    """
    while True:
        sys.stderr.write(f"{question}{f' [{printable(default)}]' if default else ''}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        answer = line.strip() or default
        try:
            if answer:
                return read(answer)
        except UsageError as error:
            sys.stderr.write(f"  {printable(str(error))}\n")


def _by_default(question: str, option: str, default: str, read: Callable[[str], T]) -> T:
    if not default:
        raise UsageError(f"nobody can be asked: {question}", f"give {option}")
    return read(default)


def _answers(
    ask: _Asking,
    hostname: str | None,
    site: str | None,
    topology: str | None,
    appliances: list[str],
    store: str | None,
    path: str | None,
    clients: bool | None,  # noqa: FBT001 - as it was given
) -> Answers:
    """The answers that options give, and those that are asked for: both are read alike."""
    from reconciler.desired.beginning import Answers

    asked = _hostname(hostname) if hostname else ask("Hostname that clients use", "--hostname", "", _hostname)
    label, _, domain = asked.partition(".")
    name = _name(site) if site else ask("Name of the site, for its files", "--site", label, _name)
    if topology is None:
        implied = {0: "failover", 1: "single", 2: "failover"}.get(len(appliances), "atlas")
        topology = ask("Topology: single, failover or atlas", "--topology", implied, _one_of(*_NAMES))
    read = partial(_appliances, topology=topology)
    question = "Its appliances, the primary first, separated by spaces"
    given = read(appliances) if appliances else ask(question, "--appliance", " ".join(_NAMES[topology]), read)
    hosts = {
        each: host or ask(f"Host name of {each}", "--appliance NAME=HOSTNAME", f"{each}.{domain}", _hostname)
        for each, host in given.items()
    }
    if store is None:
        kind = "directory" if path else "web"
        store = ask("Stores: web or directory", "--store", kind, _one_of("web", "directory"))
    if store == "directory":
        default = _PLACE if len(hosts) == 1 else f"{_PLACE}/{{name}}"
        question, read_place = "Where each directory is, {name} standing for the appliance", partial(_place, hosts)
        path = read_place(path) if path else ask(question, "--path", default, read_place)
    if clients is None:
        clients = ask("Are clients installed already (yes or no)", "--clients", "yes", _yes_or_no)
    return Answers(name, asked, topology, hosts, store, path or "", clients)


def _name(text: str) -> str:
    from reconciler.desired.models import NAME

    if not NAME.fullmatch(text):
        remedy = "use lower-case letters, digits, and dots, dashes and underscores between them"
        raise UsageError(f"'{text}' cannot be the name of a declared object", remedy)
    return text


def _appliances(given: str | list[str], topology: str) -> dict[str, str]:
    """Host names by the name of the appliance, empty where none was given.

    Args:
        given: `NAME` or `NAME=HOSTNAME`, the primary first; in one text separated by spaces or commas.
        topology: How they work together.
    """
    hosts: dict[str, str] = {}
    for each in given if isinstance(given, list) else re.findall(r"[^\s,]+", given):
        name, _, host = each.partition("=")
        if _name(name) in hosts:
            raise UsageError(f"the appliance {name} is named twice", "name it once")
        hosts[name] = _hostname(host) if host else ""
    if len(hosts) != {"single": 1, "failover": 2}.get(topology, max(len(hosts), 2)):
        needed = {"single": "one appliance", "failover": "two appliances", "atlas": "two appliances or more"}[topology]
        raise UsageError(f"the topology {topology} has {needed}, not {len(hosts)}", "name others, or another topology")
    return hosts


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise UsageError(f"'{text}' is none of these", f"write one of {', '.join(choices)}")
        return text

    return read


def _yes_or_no(text: str) -> bool:
    return _one_of("yes", "no", "y", "n")(text.lower()) in {"yes", "y"}


def _place(hosts: Collection[str], text: str) -> str:
    if len(hosts) > 1 and "{name}" not in text:
        raise UsageError(f"'{text}' would be the same for every appliance", "put {name} where their names differ")
    return text


def _hostname(text: str) -> str:
    from reconciler.pki.names import normalize_dns

    try:
        name = normalize_dns(text)
    except ValueError:
        name = ""
    if "." not in name or name.startswith("*."):
        raise UsageError(f"'{text}' is not a host name", "write it in full, like access.example.com")
    return name


def _check_free(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} is there already", "name another folder, or go on with `reconciler adopt`")


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
        _check_free(root.parent / path)
    models = {name: each for name, each in schema_models() if name in _EDITED}
    beside = {f"schemas/{name}.schema.json": schema_text(name, each) for name, each in models.items()}
    beside |= {"operator.yaml": operator_text(answers), ".gitignore": GITIGNORE}
    kept = [path for path in beside if (root.parent / path).exists()]
    files = {path: text for path, text in {**beside, **own}.items() if path not in kept}
    root.parent.mkdir(parents=True, exist_ok=True)
    write_all(root.parent, {path: (None, text.encode()) for path, text in files.items()})
    return list(files), kept


def _tell(folder: Path, answers: Answers, written: list[str], kept: list[str]) -> None:
    parent = folder.parent if folder.name.strip(".") else folder / ".."
    lines = ["Written:", *(f"  {parent / path}" for path in written if not path.startswith("schemas/"))]
    lines.append(f"  {parent / 'schemas'}/, by which editors complete and check these files")
    lines += [f"Kept as it was: {parent / path}" for path in kept if not path.startswith("schemas/")]
    lines += ["", "Next:", f"  export RECONCILER_OPERATOR={_quoted(parent / 'operator.yaml')}"]
    missing = _missing_stores(folder, answers)
    if answers.store == "web":
        lines.append("  set the variables that the files in appliances/ name, and the certificates to `trust`")
    told = _quoted(folder)
    if not missing:
        lines.append(f"  reconciler doctor {told}")
    elif answers.clients:
        lines.append(f"  not there yet: {', '.join(missing)}; mend `path`, or have what is missing made:")
        lines.append(f"  reconciler apply {told} --create-stores")
    if answers.clients:
        lines.append(f"  reconciler adopt {told}     to declare what the appliances hold already")
    else:
        lines.append(f"  see {folder}/certificates/{answers.site}.yaml, the first certificate: its subject and names")
        create = " --create-stores     makes the directories, then shows the plan"
        lines.append(f"  reconciler apply {told}{create}" if missing else f"  reconciler plan {told}")
        own = " ".join(_quoted(parent / path) for path in written if path.startswith(f"{folder.resolve().name}/"))
        lines += ["", "Do the appliances hold certificates already? Then begin again, and adopt them:"]
        lines.append(f"  rm {own} && reconciler init {told} --clients")
    sys.stdout.write("".join(printable(line) + "\n" for line in lines))


def _missing_stores(folder: Path, answers: Answers) -> list[str]:
    """The directories that are declared as stores and do not exist."""
    if answers.store == "web":
        return []
    places = [answers.path.replace("{name}", name) for name in answers.appliances]
    return [each for each in places if not (folder / "appliances" / each).is_dir()]


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
