"""Keys: the kinds that the policy knows, and making one."""

from __future__ import annotations

from typing import Literal, TypeAlias

KeyKind: TypeAlias = Literal["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384"]
"""The kinds of key that a policy may allow."""
