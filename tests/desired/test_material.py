"""What is said about committed files that hold something else than they should, in the words that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.corpus import BASE, RECIPES, read_case, validate

if TYPE_CHECKING:
    from pathlib import Path

LEAF = "certificates/access/leaf.pem"
KEY = "certificates/access/key.pem"


@pytest.mark.parametrize(
    ("path", "recipe", "told"),
    [
        (
            LEAF,
            "request",
            (
                f"{LEAF} holds a certificate request, not the certificate that was asked for - "
                "send the request to the CA, and commit its answer"
            ),
        ),
        (
            LEAF,
            "intermediate",
            (
                f"{LEAF} holds the certificate of a CA, not one that was issued - "
                "commit the certificate that was issued, and list this file in `chain`"
            ),
        ),
        (
            LEAF,
            "authorities.p7b",
            (
                f"{LEAF} holds 2 certificates of CAs, not one that was issued - "
                "commit the certificate that was issued, and list this file in `chain`"
            ),
        ),
        (
            LEAF,
            "two-leaves",
            (
                f"{LEAF} holds 2 certificates, and which one was issued cannot be told - "
                "commit the one alone, and the others as its `chain`"
            ),
        ),
        (
            KEY,
            "two-keys.p12",
            (
                f"{KEY} holds 2 private keys, of which only the first can be read - "
                "commit a file that holds only the key of this certificate"
            ),
        ),
    ],
)
def test_one_sentence_says_what_a_file_holds_instead(path: str, recipe: str, told: str, tmp_path: Path) -> None:
    read_case(BASE).write(tmp_path)
    (tmp_path / path).write_bytes(RECIPES[recipe]())
    (finding,) = validate(tmp_path)
    assert f"{finding.message} - {finding.remedy}" == told
