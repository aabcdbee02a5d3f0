"""Rules about the clients: what the software builds that they run were made to trust.

Which builds exist, and that they are listed in order, is a matter of form; see `reconciler.desired.rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Kind, Severity, found, rule
from reconciler.rules.facts import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.state import Build
    from reconciler.rules.facts import Facts

BUILD_TRUSTS_ROOT = rule(
    "build-trusts-root",
    Severity.WARNING,
    "Update the BeyondTrust Appliance",
    "The newest software build of a site trusts the root of every certificate that is listed there.",
)


def build_trusts_root(facts: Facts) -> Iterator[Finding]:
    """A certificate that not even the newest build trusts would lose every client, so its import will be held."""
    for listing in facts.listings:
        site = facts.state.site_of(listing.place.name) if listing.place.about.kind is Kind.APPLIANCE else None
        place = site or listing.place
        builds = facts.state.builds.get(place.about, ())
        root = _untrusted_root(facts, listing.certificate.name, builds[-1]) if builds else None
        if root:
            name = listing.certificate.name
            yield found(
                BUILD_TRUSTS_ROOT,
                f"the newest software build does not trust {quote(root)}, the root of certificate {name}",
                f"send what `reconciler bundle {place.name}` makes, install the build that comes back and add it here",
                position=place.position("client_software", len(builds) - 1, "trusts"),
                about=place.about,
            )


def _untrusted_root(facts: Facts, certificate: str, build: Build) -> str | None:
    """The top of a way up from a committed certificate that meets nothing in a build, if there is such a way."""
    for chain in facts.chains.get(certificate, ()):
        if chain.complete and not any(
            (each.subject.der, each.public_key) in build.trusts for each in chain.certificates
        ):
            return chain.top.subject.display
    return None
