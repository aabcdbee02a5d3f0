"""The first files of a new fleet: what `init` writes, with comments that say what each key is for. Pure."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.desired.adoption import (
    SCHEMAS,
    acknowledged,
    acknowledgement,
    appliance_text,
    directory_store,
    head,
    site_text,
    web_store,
)
from reconciler.desired.writing import flow, scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMPTY_FOR = dt.timedelta(days=90)
_NOTHING_YET = "nothing is declared yet"
_LACKING = {
    "single": ("hostname-covered",),
    "failover": ("hostname-covered", "failover-covers-members"),
    "atlas": ("hostname-covered", "atlas-wildcard"),
}
"""The rules that a site breaks as long as it lists no certificate."""
GITIGNORE = """\
# Which certificates appliances were seen to make for themselves: known on the machine that saw it.
/known-appliances*
# What the reconciler writes for people and programs, and can write again.
/journal/
/pages/
/requests/
/comment.md
/plan.html
/plan.json
/*-bundle.zip
"""


@dataclass(frozen=True)
class Answers:
    """What a new fleet is like.

    Attributes:
        site: Name of its site.
        hostname: The hostname that clients use.
        topology: single, failover or atlas.
        appliances: Host names by name, the primary first.
        store: web or directory.
        path: For directories: where each is, `{name}` standing for the appliance; absolute or from its file.
        clients: Whether clients are installed already, so that what they are served must be adopted, not made anew.
    """

    site: str
    hostname: str
    topology: str
    appliances: Mapping[str, str]
    store: str
    path: str
    clients: bool


def variable(appliance: str, what: str) -> str:
    """The environment variable in which a secret of an appliance is looked for: `EAST_1_PASSWORD`."""
    name = appliance.upper().replace("-", "_").replace(".", "_")
    return f"{name if name[0].isalpha() else f'APPLIANCE_{name}'}_{what}"


def first_files(answers: Answers, today: dt.date) -> Mapping[str, str]:
    """The desired state, by path from its root."""
    rules = _LACKING[answers.topology] if answers.clients else ()
    accepted = [acknowledgement(each, _NOTHING_YET, today + _EMPTY_FOR) for each in rules]
    files = {"fleet.yaml": _fleet(), f"sites/{answers.site}.yaml": _site(answers, accepted)}
    for name, hostname in answers.appliances.items():
        own = answers.topology != "failover" and hostname != answers.hostname
        files[f"appliances/{name}.yaml"] = _appliance(answers, name, hostname, accepted[:1] if own else [])
    if not answers.clients:
        files[f"certificates/{answers.site}.yaml"] = _certificate(answers)
    return files


_FIRST = re.compile(rf"^  - {{rule: [a-z-]+, reason: {_NOTHING_YET}, until: [0-9-]{{10}}}}(?:\r?\n|\Z)", re.MULTILINE)
_BARE = re.compile(r"^acknowledge: *\r?\n(?!(?:[ \t]*(?:#.*)?\r?\n)*(?:[ \t]+[^\s#]|-))", re.MULTILINE)
"""The key without an item beneath it, be it after comments."""


def without_first_acknowledgements(content: bytes) -> bytes:
    """A file without the lines by which `init` accepted that nothing is declared. Every other line stays as it is."""
    text = content.decode("utf-8")
    rest = _FIRST.sub("", text)
    return (rest if rest == text else _BARE.sub("", rest)).encode()


def _fleet() -> str:
    return "\n".join(
        [
            *head("fleet", schema=True),
            "# Policy for every site and appliance. What is left out has these values anyway.",
            "policy:",
            "  keys: [rsa-2048, rsa-3072, rsa-4096, ec-p256, ec-p384]",
            "  renew_before: 30d                 # or a third of the lifetime, where that is shorter",
            "  keep_previous: 7d                 # how long a replaced certificate stays beside its successor",
            "  removals_at_most: 2               # certificates with a key, per appliance and plan",
            "",
        ]
    )


def _site(answers: Answers, accepted: list[str]) -> str:
    remarks = ("A site: one hostname, one or more appliances.",)
    text = site_text(answers.hostname, answers.topology, list(answers.appliances), "", schema=True, remarks=remarks)
    if answers.clients:
        lines = [
            "# Which software builds clients may be running, oldest first. `reconciler adopt`, which lists the",
            "# certificates that the appliances hold, puts one here that trusts the live roots: check it against",
            "# those that BeyondTrust Technical Support made.",
            "client_software: none",
        ]
    else:
        lines = [
            f"certificates: {flow([answers.site])}  # on every member, identical",
            f"default: {scalar(answers.site)}  # for clients that send no server name",
            "client_software: none               # no clients yet; later the builds, oldest first",
        ]
    lines.append("settle: 48h                         # how long clients take to update to a new build")
    return text + "\n".join([*lines, *acknowledged(accepted), ""])


def _appliance(answers: Answers, name: str, hostname: str, accepted: list[str]) -> str:
    if answers.store == "web":
        url = f"https://{hostname}/appliance"
        store = web_store(url, variable(name, "USERNAME"), variable(name, "PASSWORD"))
        store.append("  # trust: {sha256: [...]}        # what the interface may present: `reconciler doctor` shows it")
    else:
        store = directory_store(answers.path.replace("{name}", name))
    remarks = ("An appliance and its store.",)
    text = appliance_text(hostname, "virtual", store, schema=True, remarks=remarks)
    return text + "".join(f"{line}\n" for line in acknowledged(accepted))


def _certificate(answers: Answers) -> str:
    hosts = list(dict.fromkeys((answers.hostname, *answers.appliances.values())))
    if answers.topology == "atlas":
        nodes = [each.partition(".")[2] for each in list(answers.appliances.values())[1:]]
        wildcards = dict.fromkeys(f"*.{each}" for each in nodes if "." in each)
        hosts = [*wildcards, *(each for each in hosts if f"*.{each.partition('.')[2]}" not in wildcards)]
    return "\n".join(
        [
            *head("certificate", schema=True),
            "# A certificate, wherever a site or appliance lists it. Its key is made on the primary, and never leaves",
            "# the appliances.",
            f"friendly_name: {scalar(answers.hostname)}",
            "subject:",
            "  # country, state, locality, organization, organizational_unit: as your CA wants them",
            f"  common_name: {scalar(f'{answers.site} remote access')}",
            f"subject_alternative_names: {flow(hosts)}",
            "key: rsa-2048",
            "source:",
            "  kind: requested                   # `apply` makes the request; `reconciler requests` writes it",
            f"  # signed: {answers.site}/signed.p7b   # the CA's answer, once it is there",
            f"  # chain: [{answers.site}/issuing.pem, {answers.site}/root.pem]",
            "",
        ]
    )


def operator_text(answers: Answers) -> str:
    """The operator settings, beside the desired state."""
    hosts = flow(answers.appliances.values())
    lines = [
        f"# yaml-language-server: $schema={SCHEMAS}/operator.schema.json",
        "# Commit this to the protected branch and guard it with CODEOWNERS: it decides which hosts are contacted, and",
        "# which commands run. `--operator` or RECONCILER_OPERATOR names it.",
    ]
    if answers.store == "web":
        lines += ["# What may be contacted; nothing else is.", f"hosts: {hosts}"]
    else:
        lines += [
            "# What may be asked, after an apply, which certificate it serves; nothing else is contacted.",
            f"hosts: {hosts}",
            "# reload:                           # how a directory's front end is made to read its certificates again",
            f"#   {next(iter(answers.appliances))}: [systemctl, reload, haproxy]",
        ]
    lines.append("concurrency: 16                     # appliances that are worked on at once")
    return "\n".join([*lines, ""])
