"""Every rule that needs nothing but the desired state and the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, sort_key
from reconciler.rules import chains, clients, coverage, identity, material, names, sources, stores, subjects, validity
from reconciler.rules.facts import Facts, RuleFunction

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.desired.state import DesiredState

_FUNCTIONS: tuple[RuleFunction, ...] = (
    subjects.cn_first_san,
    subjects.cn_is_hostname,
    subjects.cn_unique,
    subjects.country_code,
    subjects.state_abbreviated,
    names.ip_san,
    names.wildcard_form,
    coverage.hostname_covered,
    coverage.failover_covers_members,
    coverage.atlas_wildcard,
    coverage.default_declared,
    coverage.default_covers_site,
    coverage.conflicting_default,
    sources.cloud_self_signed,
    sources.self_signed_temporary,
    sources.self_signed_with_clients,
    sources.key_policy,
    material.chain_incomplete,
    material.root_missing,
    chains.chain_stranger,
    chains.chain_order,
    material.signed_mismatch,
    material.weak_signature,
    validity.expired,
    validity.expires_soon,
    validity.not_yet_valid,
    clients.build_trusts_root,
    identity.same_identity,
    stores.same_store,
)

OFFLINE = frozenset(function.__name__.replace("_", "-") for function in _FUNCTIONS)
"""Ids of the rules that `check` evaluates: each is a function of the rule's own name."""


def check(state: DesiredState, now: dt.datetime) -> tuple[Finding, ...]:
    """Evaluate every offline rule. The loader's own findings are not repeated.

    Args:
        state: The desired state; what is broken is absent from it, and passed over.
        now: The present instant, for the rules about validity.

    Returns:
        The findings, by place.
    """
    facts = Facts(state, now)
    return tuple(sorted((finding for function in _FUNCTIONS for finding in function(facts)), key=sort_key))
