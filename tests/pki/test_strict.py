from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.pki.strict import strict_objection
from tests.support.authority import DAY, NOW, Authority, self_signed

if TYPE_CHECKING:
    import datetime as dt

ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()
LEAF = INTERMEDIATE.issue(["access.example.com", "*.wild.example.com", "192.0.2.1"])


def objection(
    host: str, instant: dt.datetime = NOW, *, intermediates: bool = True, root: Authority = ROOT
) -> str | None:
    between = [INTERMEDIATE.certificate] if intermediates else []
    return strict_objection(LEAF.certificate, between, [root.certificate], host, instant)


@pytest.mark.parametrize("host", ["access.example.com", "access.example.com.", "any.wild.example.com", "192.0.2.1"])
def test_a_good_certificate_meets_no_objection(host: str) -> None:
    assert objection(host) is None


def test_objections_are_sentences() -> None:
    refused = "strict clients would refuse it: "
    assert objection("other.example.com") == refused + "leaf certificate has no matching subjectAltName"
    assert objection("access.example.com", NOW + 400 * DAY) == refused + "cert is not valid at validation time"
    unknown = refused + "no chain leads to a root that they trust"
    assert objection("access.example.com", intermediates=False) == unknown
    assert objection("access.example.com", root=Authority.root("Another root")) == unknown
    assert objection("not a host") == "strict clients would not understand it: invalid domain name"
    without = strict_objection(LEAF.certificate, [], [], "access.example.com", NOW)
    assert without == "strict clients would refuse it: there is no root that they could trust"


def test_common_name_only() -> None:
    leaf = self_signed([], common_name="access.example.com").certificate
    found = strict_objection(leaf, [], [leaf], "access.example.com", NOW)
    assert found is not None
    assert "subjectAltName" in found
