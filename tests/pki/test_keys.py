from __future__ import annotations

from typing import get_args

import pytest

from reconciler.pki.keys import KeyKind, create_key, key_matches, private_key
from tests.support.authority import Authority


@pytest.mark.parametrize("kind", get_args(KeyKind))
def test_every_kind_of_the_policy_can_be_made(kind: KeyKind) -> None:
    key = create_key(kind)
    assert key.key_kind == kind
    assert key != create_key("ec-p256")


def test_a_key_knows_its_certificate_and_shows_nothing_else() -> None:
    issued = Authority.root().issue(["access.example.com"])
    key = private_key(issued.key)
    assert key_matches(key, issued.certificate)
    assert not key_matches(create_key("ec-p256"), issued.certificate)
    assert repr(key) == f"PrivateKey(public_key='{issued.certificate.public_key}', key_kind='ec-p256')"
    assert {key, private_key(issued.key)} == {key}
