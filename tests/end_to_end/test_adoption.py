"""What the example's appliances hold is adopted into an empty desired state, and the plan that follows is empty."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.lab.example import PASSPHRASE, VARIABLE, disturb, make_example
from tests.end_to_end.example import reconciler
from tests.support.playing import playing
from tests.test_readme import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SITES = {
    "access": ("access.example.com", ("east-1", "west-1")),
    "atlas": ("remote.atlas.example.com", ("hub-1", "node-1", "node-2", "node-3")),
    "trial": ("trial.example.com", ("trial-1=trial.example.com",)),
}


def begin(root: Path, site: str, *store: str) -> None:
    """Begin a desired state for one site of the example."""
    hostname, members = SITES[site]
    options = [each for member in members for each in ("--appliance", member)]
    ran = reconciler("init", root, "--yes", "--clients", "--hostname", hostname, "--site", site, *options, *store)
    assert ran.returncode == 0, ran.stderr


def adopted(root: Path, environ: Mapping[str, str]) -> str:
    """Adopt everything; plan and validation must have nothing to say, nor a second adoption."""
    assert reconciler("validate", root).returncode == 0
    ran = reconciler("adopt", root, environ=environ)
    assert ran.returncode == 0, ran.stderr
    checked = reconciler("validate", root)
    assert checked.returncode == 0, checked.stdout
    planned = reconciler("plan", root, "--detailed-exitcode", environ=environ)
    assert planned.stdout.splitlines()[-1] == "No changes.", ran.stdout + planned.stdout
    assert planned.returncode in {0, 3}, planned.stdout
    again = reconciler("adopt", root, environ=environ)
    assert again.stdout.startswith("Already declared"), again.stdout
    return ran.stdout if planned.returncode == 0 else f"{ran.stdout}\n(wrong as it is)"


@pytest.mark.parametrize(
    ("site", "applied", "disturbed"),
    [
        ("access", True, False),
        ("access", True, True),
        pytest.param("access", False, False, marks=pytest.mark.prove),
        pytest.param("atlas", True, False, marks=pytest.mark.prove),
        pytest.param("atlas", False, False, marks=pytest.mark.prove),
        pytest.param("trial", True, False, marks=pytest.mark.prove),
        pytest.param("trial", False, False, marks=pytest.mark.prove),
    ],
)
def test_the_examples_stores(tmp_path: Path, site: str, applied: bool, disturbed: bool) -> None:  # noqa: FBT001 - a case
    async def make() -> Path:
        return await make_example(tmp_path, system_clock)

    example = anyio.run(make)
    environ = {VARIABLE: PASSPHRASE.decode()}
    if applied:
        ran = reconciler("apply", example, "--yes", "--site", site, environ=environ)
        assert ran.returncode == 0, ran.stderr
    if disturbed:
        anyio.run(disturb, example, system_clock)
    root = tmp_path / "new" / "desired-state"
    begin(root, site, "--path", "../../../.stores/{name}")
    told = adopted(root, environ)
    assert ("wrong as it is" in told) == disturbed
    if disturbed:
        assert "may be served access.example.com, which is not good: its chain lacks Example Issuing CA" in told
    if applied and not disturbed:
        assert set(load_desired(root).sites[site].model.certificates) == set(load_desired(root).certificates)


@pytest.mark.parametrize(
    "variant", ["guide", pytest.param("later", marks=pytest.mark.prove), pytest.param("other", marks=pytest.mark.prove)]
)
def test_simulated_appliances_with_web_pages(tmp_path: Path, variant: str) -> None:
    example = shutil.copytree(ROOT / "desired-state", tmp_path / "desired-state")
    with playing(example, tmp_path / "lab", "--variant", variant) as lab:
        applied = reconciler("apply", example, "--yes", "--site", "access", environ=lab.environ)
        assert applied.returncode == 0, applied.stderr
        root = tmp_path / "new" / "desired-state"
        begin(root, "access", "--store", "web")
        adopted(root, lab.environ)
        assert load_desired(root).sites["access"].model.default == "access.example.com"
        # And one by one, into a state that says nothing: the second joins the site that the first began.
        alone = tmp_path / "alone"
        alone.mkdir()
        web = ("--site-hostname", "access.example.com", "--site", "access", "--hostname")
        for name in ("east-1", "west-1"):
            url = ("--url", f"https://{name}.example.com/appliance", "--username-env", "LAB_USERNAME")
            given = (*url, "--password-env", "LAB_PASSWORD", *web, f"{name}.example.com")
            ran = reconciler("adopt", name, alone, *given, environ=lab.environ)
            assert ran.returncode == 0, ran.stderr
        adopted(alone, lab.environ)
