"""The example fleet on simulated appliances: examined, planned, applied, and asked by real TLS clients."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.plan.model import CreateSelfSigned, Import, Plan, Remove, SetDefault
from reconciler.report.doctor import Doctor
from reconciler.report.status import Status
from tests.end_to_end.committed import PAIR, Committed
from tests.end_to_end.example import APPLIANCES, reconciler
from tests.end_to_end.handshakes import visiting
from tests.support.authority import DAY
from tests.support.playing import Playing, playing
from tests.support.tls import served
from tests.test_readme import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The desired state of the example, its directory stores not made."""
    return shutil.copytree(ROOT / "desired-state", tmp_path / "desired-state")


def endpoints(root: Path) -> dict[str, str]:
    """Where each appliance answers."""
    return {name: f"{each.model.hostname}:443" for name, each in load_desired(root).appliances.items()}


def status(root: Path, lab: Playing) -> Status:
    """What every store holds, as the program tells it."""
    return Status.model_validate_json(reconciler("status", root, "--format", "json", environ=lab.environ).stdout)


@pytest.mark.parametrize(
    ("variant", "tie_break"),
    [
        ("guide", "first"),
        pytest.param("later", "last", marks=pytest.mark.prove),
        pytest.param("other", "random", marks=pytest.mark.prove),
    ],
)
def test_clients_see_what_the_plan_foretold(root: Path, tmp_path: Path, variant: str, tie_break: str) -> None:
    with playing(root, tmp_path / "lab", "--variant", variant, "--tie-break", tie_break) as lab:
        examined = reconciler("doctor", root, "--format", "json", environ=lab.environ)
        doctor = Doctor.model_validate_json(examined.stdout)
        assert examined.returncode == 0, examined.stderr
        assert [each.name for each in doctor.appliances if each.healthy] == list(APPLIANCES)

        planned = reconciler("plan", root, "--format", "json", environ=lab.environ)
        plan = Plan.model_validate_json(planned.stdout)
        assert plan.summary.ready == 26
        ran = reconciler("apply", root, "--yes", "--format", "json", environ=lab.environ)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["plan"]["digest"] == plan.digest
        again = reconciler("plan", root, "--detailed-exitcode", environ=lab.environ)
        assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "No changes.")

        trial = next(each for each in status(root, lab).appliances if each.name == "trial-1")
        (made,) = (row.fingerprint for row in trial.certificates if row.friendly_name == "Trial")
        asked = 0
        for part in plan.appliances:
            port = lab.port(endpoints(root)[part.name])
            for row in part.serving:
                candidates = {made if each.certificate.startswith("new:") else each.certificate for each in row.after}
                assert served(port, row.name) in candidates, (part.name, row.name)
                asked += 1
        assert asked == 24


def test_an_interface_whose_own_certificate_is_replaced_goes_on(root: Path, tmp_path: Path) -> None:
    """Its certificate is replaced while we talk to it, and nobody who visits the site notices."""
    committed = Committed(root / "certificates")
    committed.everything()
    pair = ("--site", "access")
    with playing(root, tmp_path / "lab") as lab:
        assert reconciler("apply", root, "--yes", *pair, environ=lab.environ).returncode == 0
        ports = [lab.port(endpoints(root)[name]) for name in ("east-1", "west-1")]
        before = {served(port, "east-1.example.com") for port in ports}
        committed.access(started=system_clock() - 8 * DAY)
        with visiting([(port, name) for port in ports for name in PAIR], root / "certificates/root.pem") as visits:
            planned = reconciler("plan", root, *pair, "--format", "json", environ=lab.environ)
            ran = reconciler("apply", root, "--yes", *pair, environ=lab.environ)
        after = {served(port, "east-1.example.com") for port in ports}
        again = reconciler("plan", root, *pair, environ=lab.environ)
    actions = Plan.model_validate_json(planned.stdout).actions
    assert [type(each) for each in actions] == [Import, SetDefault, Remove] * 2
    assert not any(isinstance(each, CreateSelfSigned) for each in actions)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (len(before), len(after), before & after) == (1, 1, set())
    assert visits.count > 50
    assert not visits.problems
    assert again.stdout.splitlines()[-1] == "No changes."
