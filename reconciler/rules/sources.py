"""Rules about where a certificate and its key come from: self-signed ones, and the kinds of key that policy allows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Kind, Severity, Stops, found, rule
from reconciler.base.references import format_duration
from reconciler.desired.models import Provided, SelfSigned
from reconciler.rules.facts import leaf_position, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.models import ClientSoftware
    from reconciler.rules.facts import Facts, Listing

_SELF_SIGNED = "Create a Self-Signed Certificate for Your PRA Appliance"

CLOUD_SELF_SIGNED = rule(
    "cloud-self-signed",
    Severity.ERROR,
    _SELF_SIGNED,
    "Cloud appliances cannot create self-signed certificates.",
)
SELF_SIGNED_TEMPORARY = rule(
    "self-signed-temporary",
    Severity.NOTICE,
    _SELF_SIGNED,
    "Self-signed certificates are for testing and installing, and are replaced by CA-signed ones.",
)
SELF_SIGNED_WITH_CLIENTS = rule(
    "self-signed-with-clients",
    Severity.ERROR,
    "Update the BeyondTrust Appliance",
    "Where clients exist no certificate is made and signed on the appliance, since clients trust none but the last.",
)
KEY_POLICY = rule(
    "key-policy",
    Severity.ERROR,
    "fleet.yaml, policy",
    "Every key is of a kind that the fleet's policy allows.",
    Stops.SITE,
    acknowledgeable=True,
)

_TEMPORARY = dt.timedelta(days=366)


def cloud_self_signed(facts: Facts) -> Iterator[Finding]:
    """A self-signed certificate that a cloud appliance would have to create."""
    for listing in _self_signed_listings(facts):
        cloud = tuple(each.name for each in listing.appliances if each.model.platform == "cloud")
        if cloud:
            yield found(
                CLOUD_SELF_SIGNED,
                f"{listed(cloud)} in the cloud cannot create the self-signed certificate {listing.certificate.name}",
                "list a certificate whose source is requested or provided",
                position=listing.position,
                about=listing.place.about,
            )


def self_signed_temporary(facts: Facts) -> Iterator[Finding]:
    """Every self-signed certificate; one that is made for more than a year is a warning."""
    for certificate in facts.state.certificates.values():
        source = certificate.model.source
        if not isinstance(source, SelfSigned):
            continue
        long, lifetime = source.valid_for > _TEMPORARY, format_duration(source.valid_for)
        yield found(
            SELF_SIGNED_TEMPORARY,
            f"self-signed for {lifetime}; iOS, Android and Linux clients work only with a CA-signed certificate",
            "replace it by one that a CA signed before clients are deployed",
            position=certificate.position("source", "valid_for" if long else "kind"),
            about=certificate.about,
            severity=Severity.WARNING if long else None,
        )


def self_signed_with_clients(facts: Facts) -> Iterator[Finding]:
    """A self-signed certificate for an appliance whose clients trust what their software build contains."""
    for listing in _self_signed_listings(facts):
        if _has_clients(_software(facts, listing)):
            yield found(
                SELF_SIGNED_WITH_CLIENTS,
                f"certificate {listing.certificate.name} is self-signed on the appliance, but clients exist here",
                "list one whose source is requested or provided; `client_software: none` is for sites without clients",
                position=listing.position,
                about=listing.place.about,
            )


def key_policy(facts: Facts) -> Iterator[Finding]:
    """The declared kind of key, and that of a certificate that was made elsewhere."""
    allowed = facts.state.policy.keys
    for certificate in facts.state.certificates.values():
        leaf = facts.leaf(certificate) if isinstance(certificate.model.source, Provided) else None
        kind = leaf.key_kind if leaf else certificate.model.key
        if kind not in allowed:
            yield found(
                KEY_POLICY,
                f"the policy of this fleet does not allow the key {kind}",
                f"the policy allows {listed(allowed)}",
                position=leaf_position(certificate) if leaf else certificate.position("key"),
                about=certificate.about,
            )


def _self_signed_listings(facts: Facts) -> Iterator[Listing]:
    for listing in facts.listings:
        if isinstance(listing.certificate.model.source, SelfSigned):
            yield listing


def _software(facts: Facts, listing: Listing) -> ClientSoftware | None:
    """The client software behind a listing: an appliance of a site has its site's."""
    if listing.place.about.kind is Kind.APPLIANCE:
        site = facts.state.site_of(listing.place.name)
        if site:
            return site.model.client_software
    return listing.place.model.client_software


def _has_clients(software: ClientSoftware | None) -> bool:
    return software is not None and software != "none"
