"""The text of new declarations, and safe names for them: what `adopt` and `init` write. Pure.

Whatever comes out of certificates is hostile text here: it becomes a file's name only through `safe_name`, a value only
through `scalar`, and part of a comment only through `printable`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.text import printable
from reconciler.desired.models import NAME
from reconciler.desired.writing import flow, scalar

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

_LONGEST_NAME = 60
_LONGEST_REMARK = 200
SCHEMAS = "schemas"
"""The folder of JSON Schemas beside the desired state, to which written files refer."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something that adopting leaves to a person.

    Attributes:
        where: The appliance, certificate or file that it concerns.
        message: What it is, in one sentence without a final full stop.
        remedy: What to do, or empty.
    """

    where: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Adoption:
    """What adopting comes to.

    Attributes:
        files: Content by path from the desired state's root: what each file holds now, None where there is none, and
            what it is to hold; in the order in which they are written.
        adopted: What each newly declared certificate is called, and where it is listed.
        left: What was not written, and why.
        troubles: What the rules or the plan find wrong nevertheless.
        accepted: Errors of rules that are acknowledged for now, and what was put off.
        changes: What the next plan will do nevertheless, a sentence each.
    """

    files: Mapping[str, tuple[bytes | None, bytes]]
    adopted: tuple[tuple[str, str], ...] = ()
    left: tuple[Told, ...] = ()
    troubles: tuple[Told, ...] = ()
    accepted: tuple[Told, ...] = ()
    changes: tuple[Told, ...] = ()


def safe_name(*texts: str) -> str:
    """A name for a file, out of the first text that yields one: lower-case letters, digits, `.`, `-` and `_`."""
    for text in texts:
        plain = unicodedata.normalize("NFKD", text.replace("*", "wildcard")).encode("ascii", "ignore").decode().lower()
        name = re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._]+", "-", plain))[:_LONGEST_NAME].strip("-._")
        if NAME.fullmatch(name):
            return name
    return "certificate"


@dataclass(frozen=True, slots=True)
class BuildDraft:
    """One build of client software that trusts what was found.

    Attributes:
        installed_at: When it is said to have been installed.
        trusts: Paths of the roots from the file.
    """

    installed_at: dt.datetime
    trusts: tuple[str, ...]

    def text(self) -> str:
        """As the key `client_software` of a file."""
        at = f"{self.installed_at:%Y-%m-%dT%H:%M:%SZ}"
        return f"client_software:\n  - installed_at: {at}\n    trusts: {flow(self.trusts)}\n"


CHECK_BUILD = "From adoption: check it against the builds that BeyondTrust Technical Support made, and when."


@dataclass(frozen=True, slots=True)
class CertificateDraft:
    """A certificate to declare as it was found. Its key stays where it is.

    Attributes:
        friendly_name: What the appliance's page shows, or empty.
        subject: The fields of the subject, by their keys in YAML.
        names: The subject alternative names, in the order of the certificate.
        key: The kind of key.
        signed: Path of the committed certificate from the file.
        chain: Paths of its issuers from the file.
        renew_before: Overrides the policy's, or empty.
        renew_with: same_key or new_key.
        remarks: Comments, a line each.
        acknowledge: Items of `acknowledge`, each as YAML.
    """

    friendly_name: str
    subject: Mapping[str, str]
    names: tuple[str, ...]
    key: str
    signed: str
    chain: tuple[str, ...]
    renew_before: str = ""
    renew_with: str = "same_key"
    remarks: tuple[str, ...] = ()
    acknowledge: tuple[str, ...] = ()

    def text(self, *, schema: bool) -> str:
        """The file."""
        lines = [*head("certificate", schema=schema), *(comment(each) for each in self.remarks)]
        if self.friendly_name:
            lines.append(f"friendly_name: {scalar(self.friendly_name)}")
        lines.append("subject:")
        lines += [f"  {key}: {scalar(value)}" for key, value in self.subject.items()]
        lines.append(f"subject_alternative_names: {flow(self.names)}")
        lines.append(f"key: {self.key}")
        if self.renew_before:
            lines.append(f"renew_before: {self.renew_before}")
        lines.append(
            f"renew_with: {self.renew_with}                # whether the next request uses the same_key, or a new_key"
        )
        lines += ["source:", "  kind: requested                   # its key is on the appliance, and stays there"]
        lines.append(f"  signed: {scalar(self.signed)}")
        if self.chain:
            lines.append(f"  chain: {flow(self.chain)}")
        return "\n".join([*lines, *acknowledged(self.acknowledge), ""])


def acknowledgement(rule: str, reason: str, until: dt.date) -> str:
    """An item of `acknowledge`."""
    return f"{{rule: {scalar(rule)}, reason: {scalar(reason)}, until: {until:%Y-%m-%d}}}"


def acknowledged(items: Iterable[str]) -> list[str]:
    """The lines of `acknowledge`, none where there is nothing."""
    lines = [f"  - {each}" for each in items]
    return ["acknowledge:", *lines] if lines else []


def head(kind: str, *, schema: bool) -> list[str]:
    """The line by which an editor finds the schema of a file, where there is one."""
    up = ".." if kind == "fleet" else "../.."
    return [f"# yaml-language-server: $schema={up}/{SCHEMAS}/{kind}.schema.json"] if schema else []


def comment(text: str) -> str:
    """A line of comment."""
    told = printable(text)
    return f"# {told if len(told) <= _LONGEST_REMARK else told[:_LONGEST_REMARK] + '...'}"


def appliance_text(
    hostname: str, platform: str, store: Sequence[str], *, schema: bool, remarks: Sequence[str] = ()
) -> str:
    """The file of an appliance, without what it holds.

    Args:
        hostname: Its host name.
        platform: What kind of appliance it is.
        store: The lines of `store`.
        schema: Whether an editor finds the schemas.
        remarks: Comments on top, a line each.
    """
    lines = [*head("appliance", schema=schema), *(comment(each) for each in remarks)]
    lines += [f"hostname: {scalar(hostname)}", f"platform: {platform}", *store]
    lines.append("undeclared: keep                    # what nothing declares is left alone; or remove")
    return "\n".join([*lines, ""])


def directory_store(path: str) -> list[str]:
    """The lines of a store in a directory.

    Args:
        path: The directory, absolute or relative to the appliance's file.
    """
    return [f"store: {{driver: directory, path: {scalar(path)}}}"]


def web_store(url: str, username: str, password: str, *, sha256: Sequence[str] = (), ca: str = "") -> list[str]:
    """The lines of a store behind the web interface.

    Args:
        url: Address of the interface.
        username: The environment variable that holds the user name.
        password: The environment variable that holds the password.
        sha256: Fingerprints of certificates that the interface may present.
        ca: Path of a committed root from the appliance's file, or empty.
    """
    lines = ["store:", "  driver: web", f"  url: {scalar(url)}"]
    lines.append(f"  username: {{env: {scalar(username)}}}     # where it is found: never the name itself")
    lines.append(f"  password: {{env: {scalar(password)}}}")
    if sha256 or ca:
        lines.append("  trust:                            # which certificates the interface may present")
    if sha256:
        lines.append(f"    sha256: [{', '.join(_quoted(each) for each in sha256)}]")
    if ca:
        lines.append(f"    ca: {scalar(ca)}")
    return lines


def _quoted(text: str) -> str:
    """A fingerprint in quotes: one of digits alone would be a number."""
    return f'"{text}"'


def site_text(
    hostname: str,
    topology: str,
    members: Sequence[str],
    client_software: str,
    *,
    schema: bool,
    remarks: Sequence[str] = (),
) -> str:
    """The file of a site, without its certificates.

    Args:
        hostname: The hostname that clients use.
        topology: single, failover or atlas.
        members: Its appliances, the primary first.
        client_software: The lines of `client_software`, or empty.
        schema: Whether an editor finds the schemas.
        remarks: Comments on top, a line each.
    """
    lines = [*head("site", schema=schema), *(comment(each) for each in remarks)]
    lines += [f"hostname: {scalar(hostname)}", f"topology: {topology}"]
    lines.append(f"primary: {scalar(members[0])}  # where keys are made")
    if topology == "failover":
        lines.append(f"backup: {scalar(members[1])}")
    if topology == "atlas":
        lines.append(f"traffic_nodes: {flow(members[1:])}")
    return "\n".join([*lines, ""]) + client_software
