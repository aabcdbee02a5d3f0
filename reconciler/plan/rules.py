"""The rules whose findings come from planning: they concern live state, time, or what a change would do."""

from __future__ import annotations

from reconciler.base.findings import Severity, Stops, rule

UNREACHABLE = rule(
    "unreachable",
    Severity.ERROR,
    "Appliance",
    "An appliance's store can be observed.",
    Stops.NOTHING,
)
UNFINISHED = rule(
    "unfinished-change",
    Severity.WARNING,
    "Directory stores",
    "A change of a store is finished by the reload that makes it served.",
)
REQUEST_PENDING = rule(
    "request-pending",
    Severity.NOTICE,
    "Create a Certificate Signed by a Certificate Authority",
    "A certificate request is sent to a CA, and the CA's answer is committed.",
)
REQUEST_ORPHANED = rule(
    "request-orphaned",
    Severity.NOTICE,
    "Create a Certificate Signed by a Certificate Authority",
    "Every pending certificate request is one that a declared certificate waits for.",
)
RENEWAL_DUE = rule(
    "renewal-due",
    Severity.WARNING,
    "Renew an Expired Certificate",
    "A certificate that is due for renewal has a request on its way to the CA.",
)
KEY_GONE = rule(
    "key-gone",
    Severity.ERROR,
    "Import the Certificate",
    "The CA's answer fits a private key that an appliance holds.",
    Stops.NOTHING,
)
PRIMARY_UNREACHABLE = rule(
    "primary-unreachable",
    Severity.WARNING,
    "Copy the SSL Certificate to Privileged Remote Access Failover and Atlas Appliances",
    "The appliance on which keys are made can be reached when one is to be made.",
)
PEER_DIVERGED = rule(
    "peer-diverged",
    Severity.WARNING,
    "Copy the SSL Certificate to Privileged Remote Access Failover and Atlas Appliances",
    "The appliances of a site hold the same certificate, with its key and its chain.",
)
SERVED_NAME_LOST = rule(
    "served-name-lost",
    Severity.ERROR,
    "SSL Certificate Auto-Selection",
    "A protected name never loses its last good certificate.",
    Stops.NOTHING,
)
SERVED_NOT_GOOD = rule(
    "served-not-good",
    Severity.ERROR,
    "SSL Certificate Auto-Selection",
    "Where clients exist, every protected name is served by certificates that all of them accept.",
    Stops.NOTHING,
)
CA_CHANGE_UNPREPARED = rule(
    "ca-change-unprepared",
    Severity.WARNING,
    "Replace an SSL Certificate",
    "Clients have a software build that trusts a new root before it is served.",
)
CLIENT_SETTLING = rule(
    "client-settling",
    Severity.NOTICE,
    "Update the BeyondTrust Appliance",
    "Clients have had time to update before what only the new software build trusts is served.",
)
HOLD_OUTLIVES_CERTIFICATE = rule(
    "hold-outlives-certificate",
    Severity.ERROR,
    "Replace an SSL Certificate",
    "A hold ends before the certificate that serves meanwhile expires.",
    Stops.NOTHING,
)
RETIRED_NEEDED = rule(
    "retired-needed",
    Severity.ERROR,
    "Renew an Expired Certificate",
    "What is retired is neither declared nor needed by something that is kept.",
    Stops.NOTHING,
)
RETIRED_ABSENT = rule(
    "retired-absent",
    Severity.NOTICE,
    "Renew an Expired Certificate",
    "A retired certificate that is gone from the store need not be listed any more.",
)
REMOVAL_CEILING = rule(
    "removal-ceiling",
    Severity.ERROR,
    "Policy",
    "No plan removes more certificates with a key from one appliance than the policy allows.",
    Stops.NOTHING,
)
UNDECLARED = rule(
    "undeclared",
    Severity.NOTICE,
    "Security > Certificates",
    "Every certificate in a store is declared, needed by a declared one, or retired.",
)
NEWER_THAN_DECLARED = rule(
    "newer-than-declared",
    Severity.WARNING,
    "Renew an Expired Certificate",
    "No certificate in a store is newer than the declared one whose common name or alternative names it shares.",
)
SITE_DIVIDED = rule(
    "site-divided",
    Severity.ERROR,
    "Copy the SSL Certificate to Privileged Remote Access Failover and Atlas Appliances",
    "A plan for some members of a site brings them no certificate that the others lack.",
    Stops.NOTHING,
)
EXPIRING_UNDECLARED = rule(
    "expiring-undeclared",
    Severity.WARNING,
    "Security > Certificates",
    "No certificate with a key that nothing declares expires unnoticed.",
)
APPLIANCE_MANAGED = rule(
    "appliance-managed",
    Severity.NOTICE,
    "Security > Certificates",
    "A certificate that the appliance requests and renews by itself is left alone, and serves no protected name.",
)

JUDGED = frozenset(
    each.id
    for each in (
        REQUEST_PENDING,
        REQUEST_ORPHANED,
        RENEWAL_DUE,
        PRIMARY_UNREACHABLE,
        PEER_DIVERGED,
        RETIRED_ABSENT,
        UNDECLARED,
        EXPIRING_UNDECLARED,
        NEWER_THAN_DECLARED,
        APPLIANCE_MANAGED,
    )
)
"""Ids of the rules that a plan of the whole fleet evaluates on every object, so that their silence means something."""
