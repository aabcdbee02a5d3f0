"""What the reconciler does is what a person sees in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.pki.reading import read
from tests.browser.person import Person
from tests.support.browser import browsing

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate
    from tests.browser.fleet import Fleet

pytestmark = pytest.mark.anyio

NAMES = ("access.example.com", "east-1.example.com", "west-1.example.com")


def expected(friendly_name: str, certificate: Certificate, *, default: bool = False) -> dict[str, str]:
    """The row of a certificate that the example declares: its own one, which has the key, or one of its chain."""
    return {
        "Friendly Name": friendly_name,
        "Issued To": certificate.subject.display,
        "Issued By": certificate.issuer.display,
        "Expiration": f"{certificate.not_after:%Y-%m-%d %H:%M:%S} GMT",
        "Alternative Name(s)": "\n".join(f"dNSName - {each}" for each in NAMES) if default else "No Supported Names",
        "Private Key?": "Yes" if default else "No",
        "Default": "Yes" if default else "No",
    }


async def test_what_the_reconciler_does_is_what_a_person_sees(fleet: Fleet) -> None:
    code, output, errors = await fleet.reconciler("apply", "--yes", "--site", "access")
    assert code == 0, output + errors
    folder = fleet.desired_state / "certificates"
    leaf, issuing, root = (
        read((folder / name).read_bytes(), None).certificates[0]
        for name in ("access/leaf.pem", "issuing.pem", "root.pem")
    )
    declared = [
        expected("access.example.com", leaf, default=True),
        expected("Example Issuing CA", issuing),
        expected("Example Root CA", root),
    ]
    pair = [fleet.appliance(name) for name in ("east-1", "west-1")]
    async with browsing({each.hostname: each.port for each in pair}) as page:
        for appliance in pair:
            person = Person(page, appliance)
            await person.sign_in()
            rows = await person.read_certificates()
            shown = [{column: row[column] for column in declared[0]} for row in rows]
            (factory,) = [row for row in shown if row not in declared]
            assert [row for row in shown if row in declared] == declared, "each without a warning beneath its name"
            # The warning that the factory certificate is to be replaced stays, and it is the default no more.
            assert factory["Friendly Name"].split("\n") == ["BeyondTrust Appliance", "1 Warning(s)"]
            assert factory["Default"] == "No"
            assert not await person.read_requests()
            await person.sign_out()
