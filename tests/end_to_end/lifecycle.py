"""What the people of the guide do, as a small vocabulary for scenarios: declare, apply, ask a CA, commit, connect.

    with living("directory", tmp_path, SITE) as life:
        life.apply(waits=True)
        life.commit("access", authority, "PKCS#7")
        life.apply()
        life.connect(authority.chain[-1])

The program runs as a process of its own each time. Appliances are certificate directories that HAProxy serves, or those
that `reconciler lab` plays; what a scenario expects is the same.
"""

from __future__ import annotations

import json
import ssl
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

from reconciler.base.clock import system_clock
from reconciler.cli.exits import Exit
from reconciler.engine.operator import VARIABLE
from reconciler.live.directory import create_store
from reconciler.pki.reading import read
from reconciler.plan.model import CreateSelfSigned, Plan
from reconciler.report.results import Applied
from reconciler.report.status import Status
from tests.end_to_end.example import reconciler
from tests.end_to_end.handshakes import problem, problem_without_name
from tests.support.authorities import FORMATS
from tests.support.haproxy import serving
from tests.support.playing import playing
from tests.support.tls import served

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    from reconciler.pki.certificate import Certificate
    from tests.support.authorities import Authority

DIRECTORY = "directory"
"""Certificate directories; any other kind of appliance is a variant of the lab."""

_EXTENSIONS = {"DER": "cer", "PEM": "pem", "PEM with chain": "pem", "PKCS#7": "p7b", "PKCS#12": "p12"}
_ALONE = {"DER", "PEM"}


def appliance(name: str, further: str = "") -> dict[str, str]:
    """The file of an appliance `NAME.example.com`."""
    store = f"store: {{driver: directory, path: ../../.stores/{name}}}"
    return {f"appliances/{name}.yaml": f"hostname: {name}.example.com\n{store}\n{further}"}


def certificate(source: str, *names: str, further: str = "") -> dict[str, str]:
    """The file of the certificate `access`, with `source: {kind: ...}` in a line of its own."""
    return {
        "certificates/access.yaml": dedent("""\
            friendly_name: Remote access
            subject: {country: US, state: Mississippi, organization: Example Company, common_name: Example access}
            key: rsa-2048
            """)
        + f"subject_alternative_names: {json.dumps(names)}\nsource: {{kind: {source}}}\n{further}"
    }


@dataclass
class Lifecycle:
    """A fleet with one site, and what is done with it.

    Attributes:
        root: Folder of the desired state.
        environ: What leads the program to the appliances.
        ports: Where each appliance serves.
        hostname: The site's host name.
        leaf: The answer that was committed last.
        foretold: For each appliance, what the last plan that was applied lets be served, by name.
    """

    root: Path
    environ: Mapping[str, str]
    ports: Mapping[str, int]
    hostname: str = "access.example.com"
    leaf: Certificate | None = None
    foretold: dict[str, dict[str | None, set[str]]] = field(default_factory=dict)

    def declare(self, files: Mapping[str, str]) -> None:
        """Write files of the desired state."""
        for path, text in files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)

    def edit(self, path: str, old: str, new: str) -> None:
        """Change a line of a declared file."""
        text = (self.root / path).read_text()
        assert text.count(old) == 1, text
        (self.root / path).write_text(text.replace(old, new))

    def add(self, path: str, lines: str) -> None:
        """Add lines to a declared file."""
        self.declare({path: (self.root / path).read_text() + lines})

    def run(self, command: str, *options: str | Path, exits: Exit = Exit.DONE) -> str:
        """Run the program; what it says on stdout."""
        ran = reconciler(command, self.root, *options, environ=self.environ)
        assert ran.returncode == exits, ran.stdout + ran.stderr
        return ran.stdout

    def plan(self, *options: str, exits: Exit = Exit.CHANGES) -> Plan:
        """Plan with --detailed-exitcode."""
        told = self.run("plan", "--format", "json", "--detailed-exitcode", *options, exits=exits)
        return Plan.model_validate_json(told)

    def plan_at(self, instant: dt.datetime, exits: Exit = Exit.CHANGES) -> Plan:
        """Plan as of an instant."""
        return self.plan("--at", instant.isoformat(), exits=exits)

    def apply(self, *, waits: bool = False) -> Applied:
        """Apply, and see that it is done: nothing is left but what waits, and every client gets what was foretold."""
        applied = self._apply()
        assert applied.results
        left = self.plan(exits=Exit.HELD if waits else Exit.DONE)
        again = self._apply()
        assert not again.results
        assert again.plan.basis.live_digests == left.basis.live_digests
        made = _made(applied)
        self.foretold = {
            part.name: {
                row.name: {made.get(each.certificate, each.certificate) for each in row.after} for row in part.serving
            }
            for part in applied.plan.appliances
        }
        for name, rows in self.foretold.items():
            assert {None, self.hostname} < rows.keys()
            for server_name, candidates in rows.items():
                assert served(self.ports[name], server_name) in candidates, (name, server_name)
        return applied

    def begin(self, authority: Authority, started: dt.datetime) -> None:
        """Come to where a chapter begins: a certificate of a CA is everywhere, and has been valid for a while."""
        self._apply()
        self.commit(authority, not_before=started)
        self._apply()

    def connect(self, root: bytes) -> None:
        """Have clients that believe nothing but one root (PEM) come for every protected name."""
        file = self.root.parent / "believed.pem"
        file.write_bytes(root)
        for name, rows in self.foretold.items():
            port = self.ports[name]
            for server_name in rows:
                wrong = problem(port, server_name, file) if server_name else self._without_name(port, file)
                assert not wrong, (name, wrong)
                assert self.leaf is None or served(port, server_name) == self.leaf.fingerprint

    def _without_name(self, port: int, root: Path) -> str:
        return problem_without_name(port, self.hostname, root)

    def classes(self) -> dict[str, int]:
        """How many certificates of each class every appliance shows by now; the default is a declared one."""
        status = Status.model_validate_json(self.run("status", "--format", "json"))
        found = []
        for each in status.appliances:
            (default,) = (row for row in each.certificates if row.default)
            assert (default.class_, default.private_key, default.warnings) == ("declared", True, ())
            found.append(Counter(str(row.class_) for row in each.certificates))
        assert all(each == found[0] for each in found), found
        return {kind: number for kind, number in found[0].items() if kind != "factory"}

    def commit(
        self,
        authority: Authority,
        form: str = "PEM",
        *,
        not_before: dt.datetime | None = None,
        exits: Exit = Exit.DONE,
    ) -> None:
        """Send the request of `access` to a CA, and commit its answer in one of the formats that Import accepts."""
        self.run("requests", "--out", self.root.parent / "requests", exits=exits)
        request = (self.root.parent / "requests/access.csr").read_text()
        leaf = authority.sign(request, not_before=not_before)
        (self.leaf,) = read(leaf).certificates
        folder, signed = self.root / "certificates/access", f"signed.{_EXTENSIONS[form]}"
        folder.mkdir(exist_ok=True)
        (folder / signed).write_bytes(FORMATS[form](leaf, authority.chain))
        chain = []
        if form in _ALONE:
            for part, content in zip(("issuing", "root"), authority.chain, strict=True):
                (folder / f"{part}.pem").write_bytes(content)
                chain.append(f"access/{part}.pem")
        answer = f"{{kind: requested, signed: access/{signed}, chain: {json.dumps(chain)}}}"
        declared = self.root / "certificates/access.yaml"
        lines = declared.read_text().splitlines()
        lines = [f"source: {answer}" if line.startswith("source:") else line for line in lines]
        declared.write_text("\n".join(lines) + "\n")

    def exported(self, name: str) -> bytes:
        """The certificate `access` as an appliance exports it, for those who are to believe it."""
        ran = reconciler("export", name, "access", self.root, "--out", self.root.parent / "out", environ=self.environ)
        assert ran.returncode == 0, ran.stderr
        return ssl.DER_cert_to_PEM_cert((self.root.parent / "out").read_bytes()).encode()

    def _apply(self) -> Applied:
        return Applied.model_validate_json(self.run("apply", "--yes", "--format", "json"))


def _made(applied: Applied) -> dict[str, str]:
    """The certificates that appliances made, by what the plan calls them."""
    called = {each.id: each.new for each in applied.plan.actions if isinstance(each, CreateSelfSigned)}
    steps = (step for result in applied.results for step in result.steps)
    return {called[step.action]: step.made for step in steps if step.action in called}


@contextmanager
def living(kind: str, folder: Path, files: Mapping[str, str]) -> Iterator[Lifecycle]:
    """A fleet whose appliances serve until the block ends.

    Args:
        kind: `directory`, or a variant of the lab.
        folder: Where everything lies.
        files: The desired state to begin with; all appliances are among it.
    """
    root = folder / "desired-state"
    life = Lifecycle(root, {}, {})
    life.declare(files)
    names = [Path(path).stem for path in files if path.startswith("appliances/")]
    if kind != DIRECTORY:
        with playing(root, folder / "lab", "--variant", kind) as lab:
            life.environ, life.ports = lab.environ, {each: lab.port(f"{each}.example.com:443") for each in names}
            yield life
        return
    stores = {each: folder / ".stores" / each for each in names}
    for each in stores.values():
        create_store(each, system_clock)
    with ExitStack() as held:
        # One for each, as on appliances: they reload side by side.
        running = {name: held.enter_context(serving({name: store})) for name, store in stores.items()}
        operator = folder / "operator.yaml"
        operator.write_text(json.dumps({"reload": {name: each.reload_command for name, each in running.items()}}))
        life.environ = {VARIABLE: str(operator)}
        life.ports = {name: each.ports[name] for name, each in running.items()}
        yield life
