"""Which hosts may be contacted and where they answer: what the operator says of the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


HTTPS = 443


@dataclass(frozen=True, slots=True)
class Network:
    """What the operator's settings say of the network. A proposed change cannot reach it.

    Attributes:
        hosts: What may be contacted, as `host:port`, lower case.
        connect: Where an endpoint (`host:port`) is to be reached instead, also as `host:port`: a tunnel, a lab.
        known_appliances: The file of certificates that appliances made for themselves under our eyes; None where
            nothing lasts.
        capture: Folder in which pages are kept, redacted; None for none.
    """

    hosts: frozenset[str] = frozenset()
    connect: Mapping[str, str] = field(default_factory=dict)
    known_appliances: Path | None = None
    capture: Path | None = None

    def address(self, host: str, port: int) -> tuple[str, int]:
        """Where to connect to for an endpoint.

        Args:
            host: A host name or an address, lower case, IPv6 without brackets.
            port: The port.

        Raises:
            StoreUnreachable: The operator's settings do not allow the host.
        """
        place = endpoint(host, port)
        if place not in self.hosts:
            told = host if port == HTTPS else place
            raise StoreUnreachable(
                f"the host {told} is not among those that may be contacted",
                f"if it is right, add '{told}' to `hosts` in the operator settings, the file that --operator FILE or"
                " RECONCILER_OPERATOR names",
            )
        return split_endpoint(self.connect.get(place, place))


def endpoint(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_endpoint(text: str) -> tuple[str, int]:
    """Host, without brackets, and port of `host:port`."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
