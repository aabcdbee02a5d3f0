"""The example's committed certificates made anew, by an authority that can issue more of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.clock import system_clock
from reconciler.lab.example import PASSPHRASE
from tests.support.authority import DAY, Authority, Issued

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

PAIR = ("access.example.com", "east-1.example.com", "west-1.example.com")


@dataclass(frozen=True)
class Committed:
    """The example's committed certificates anew, from an authority that can issue more of them."""

    folder: Path
    issuing: Authority = field(
        default_factory=lambda: Authority.root("Root of the test", not_before=system_clock() - 900 * DAY).intermediate(
            "Issuing CA of the test", not_before=system_clock() - 900 * DAY
        )
    )

    def everything(self) -> None:
        """Replace root, intermediate, and both leaves with their keys."""
        start = system_clock() - 300 * DAY
        [root] = self.issuing.chain
        self._write("root.pem", Issued(root, self.issuing.key).pem())
        self._write("issuing.pem", Issued(self.issuing.certificate, self.issuing.key).pem())
        atlas = self._issue(["*.atlas.example.com"], "Example Atlas access", "ec-p256", start)
        self._write("atlas/leaf.pem", atlas.pem())
        self._write("atlas/key.p12", atlas.pkcs12(PASSPHRASE))
        self.access(start)

    def access(self, started: dt.datetime) -> None:
        """Replace the failover pair's leaf and key."""
        access = self._issue(PAIR, "Example remote access", "rsa-2048", started)
        self._write("access/leaf.pem", access.pem())
        self._write("access/key.p12", access.pkcs12(PASSPHRASE))

    def _issue(self, names: list[str] | tuple[str, ...], common_name: str, kind: str, start: dt.datetime) -> Issued:
        end = start + 500 * DAY
        return self.issuing.issue(names, common_name=common_name, key_kind=kind, not_before=start, not_after=end)

    def _write(self, path: str, content: bytes) -> None:
        (self.folder / path).write_bytes(content)
