"""From what a directory holds to what it should hold: the steps, in an order that is safe to break off anywhere.

Everything here is pure. `Target` is the content that a change wants; `steps_between` derives single, atomic steps from
it, so that no operation has an order of its own to get wrong:

1. what only `.store/` holds is added: friendly names, requests, certificates without a key;
2. `00-default.pem` is made to name what is the default already, where only the order of names has said so;
3. files with a key are written: new ones, and those whose chain part changes;
4. the default is switched;
5. requests go, then files with a key (links before what they lead to), then certificates without a key.

Thus a front end can start after every step, something is added in its new place before it leaves its old one, and
deriving the steps anew from whatever was reached leads to the same end.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconciler.live.directory.snapshot import CERTIFICATES, DEFAULT, METADATA, REQUESTS, Metadata
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.writing import write_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.live.directory.servable import ServableFile
    from reconciler.live.directory.snapshot import Entry, Snapshot, StoredRequest
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.chain import Chain


_LONGEST_FRIENDLY_NAME = 256


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file, over whatever has its name.

    Attributes:
        path: Where, relative to the directory.
        content: Its bytes, not shown, since they may hold a key.
        is_served: Whether a front end loads it.
    """

    path: str
    content: bytes = field(repr=False)
    is_served: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Make a symbolic link, over whatever has its name; a front end loads it.

    Attributes:
        path: Where, relative to the directory.
        target: The name that it leads to.
    """

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """Remove a file or link.

    Attributes:
        path: Where, relative to the directory.
        is_served: Whether a front end loads it.
    """

    path: str
    is_served: bool = False


Step: TypeAlias = Write | Link | Unlink


def changes_serving(step: Step) -> bool:
    """Whether a front end has to reload after a step."""
    return isinstance(step, Link) or step.is_served


@dataclass
class Target:
    """What a directory should hold.

    Attributes:
        keyed: What is to be served, by fingerprint.
        keyless: Certificates without a key, by fingerprint.
        requests: Pending requests by fingerprint.
        default: Fingerprint of the default certificate.
        friendly_names: By fingerprint of certificate or request.
        fulfilled: Answers by request; see `Metadata`.
        factory: Fingerprint of the factory certificate.
    """

    keyed: dict[str, ServableFile]
    keyless: dict[str, Certificate]
    requests: dict[str, StoredRequest]
    default: str | None
    friendly_names: dict[str, str]
    fulfilled: dict[str, str]
    factory: str | None

    @classmethod
    def of(cls, snapshot: Snapshot) -> Target:
        """What it holds now."""
        return cls(
            keyed=dict(snapshot.keyed),
            keyless=dict(snapshot.keyless),
            requests=dict(snapshot.requests),
            default=snapshot.default,
            friendly_names=dict(snapshot.metadata.friendly_names),
            fulfilled=dict(snapshot.metadata.fulfilled),
            factory=snapshot.metadata.factory,
        )

    def certificates(self) -> Iterator[Certificate]:
        """Every certificate."""
        yield from (each.leaf for each in self.keyed.values())
        yield from self.keyless.values()

    def call(self, fingerprint: str, friendly_name: str) -> None:
        """Note a friendly name, if there is one: any text that can be encoded, cut where it is excessive.

        Whoever shows it has to escape it.
        """
        name = friendly_name.encode("utf-8", "replace").decode()[:_LONGEST_FRIENDLY_NAME]
        if name:
            self.friendly_names[fingerprint] = name

    def metadata(self, snapshot: Snapshot) -> Metadata:
        """What is kept beside the certificates, without what concerns nothing that is still there."""
        # An answered request's name stays until its file is gone: the answer takes it over, if need be once more.
        known = {*self.keyed, *self.keyless, *self.requests, *snapshot.stored_requests}
        # Metadata is written first: until an answer has gone, too, its request must not count again.
        answers = {*self.keyed, *snapshot.keyed}
        fulfilled = {key: answer for key, answer in self.fulfilled.items() if answer in answers}
        return Metadata(
            factory=self.factory,
            friendly_names={key: name for key, name in sorted(self.friendly_names.items()) if key in known},
            fulfilled={key: answer for key, answer in sorted(fulfilled.items()) if key in snapshot.stored_requests},
        )


def chain_part(chains: Iterable[Chain]) -> tuple[Certificate, ...]:
    """What is sent after a leaf: its issuers in order, without the root, which clients have or must not believe.

    Of several chains the complete ones come first, then those that last longest: a clock has no say in what the
    bytes of a file are. Every other chain is one that clients may build just as well.
    """
    best = max(chains, key=lambda each: (each.complete, min(one.not_after for one in each.certificates)))
    return best.certificates[1:-1] if best.complete else best.certificates[1:]


def steps_between(snapshot: Snapshot, target: Target) -> list[Step]:
    """The steps from what a directory holds to what it should hold."""
    files = _Files(snapshot, target)
    return [
        *_additions(snapshot, target),
        *files.pin(),
        *files.writes(),
        *files.switch(),
        *(Unlink(f"{REQUESTS}/{each}.pem") for each in snapshot.stored_requests if each not in target.requests),
        *files.removals(),
        *(Unlink(f"{CERTIFICATES}/{each}.pem") for each in snapshot.kept if each not in target.keyless),
    ]


def _additions(snapshot: Snapshot, target: Target) -> Iterator[Step]:
    metadata = target.metadata(snapshot)
    if metadata != snapshot.metadata:
        yield Write(METADATA, metadata.model_dump_json(indent=2).encode() + b"\n")
    for fingerprint, stored in target.requests.items():
        if fingerprint not in snapshot.stored_requests:
            yield Write(f"{REQUESTS}/{fingerprint}.pem", stored.request.pem.encode() + stored.key)
    for fingerprint, certificate in target.keyless.items():
        if fingerprint not in snapshot.kept:
            yield Write(f"{CERTIFICATES}/{fingerprint}.pem", write_pem([certificate]))


class _Files:
    """Steps on what a front end loads."""

    def __init__(self, snapshot: Snapshot, target: Target) -> None:
        self._entries = snapshot.entries
        self._companions = snapshot.companions
        self._target = target
        self._builder = ChainBuilder(target.certificates())
        self._present = frozenset(target.certificates())
        self._default_moves = bool(snapshot.entries) and target.default != snapshot.default
        # Files that are loaded before 00-default.pem decide what the default is, whatever that leads to. They have to
        # make room when the default changes, and so has a file that is no link but has its name.
        first = os.fsencode(DEFAULT)
        self._in_the_way = {
            each.name
            for each in self._entries
            if self._default_moves
            and (os.fsencode(each.name) < first or (each.name == DEFAULT and each.target is None))
        }
        self._regular: dict[str, list[Entry]] = {each: [] for each in target.keyed}
        for each in self._entries:
            if each.target is None and each.name not in self._in_the_way:
                self._regular.setdefault(each.fingerprint, []).append(each)

    def pin(self) -> Iterator[Step]:
        """Keep the default from depending on what the other files are called."""
        if self._entries and os.fsencode(self._entries[0].name) > os.fsencode(DEFAULT):
            first = self._entries[0]
            yield Link(DEFAULT, first.target or first.name)

    def writes(self) -> Iterator[Step]:
        """New files, and files whose chain changes."""
        for fingerprint, wanted in self._target.keyed.items():
            chain = chain_part(self._builder.chains(wanted.leaf))
            if not self._regular[fingerprint]:
                yield Write(self._name(fingerprint), wanted.render(chain), is_served=True)
            for each in self._regular[fingerprint]:
                sent = each.content.chain
                if _without_root(sent) != chain or not self._present.issuperset(sent):
                    yield Write(each.name, each.content.render(chain), is_served=True)

    def switch(self) -> Iterator[Step]:
        """Make the default what it should be."""
        default = self._target.default
        if default and (self._default_moves or not self._entries):
            files = self._regular[default]
            yield Link(DEFAULT, files[0].name if files else self._name(default))

    def removals(self) -> Iterator[Step]:
        """Remove what is not wanted, and what would be loaded before the default."""
        unwanted = [each for each in self._entries if each.fingerprint not in self._target.keyed]
        going = {each.name for each in unwanted} | self._in_the_way
        going |= {each.name for each in self._entries if each.target in going}
        if self._default_moves:
            going.discard(DEFAULT)
        # Backwards, since the first file in order is the default until it goes, and links before what they lead to.
        order = {
            each.name: (os.fsencode(each.target if each.target in going else each.name), each.target is not None)
            for each in self._entries
            if each.name in going
        }
        yield from (Unlink(name, is_served=True) for name in sorted(order, key=order.__getitem__, reverse=True))
        yield from (Unlink(each) for each in sorted(self._companions) if each.rpartition(".")[0] in going)

    def _name(self, fingerprint: str) -> str:
        """Name of a new file: the fingerprint, unless an administrator gave that to some other certificate."""
        taken = {each.name for each in self._entries}
        names = (f"{fingerprint}{suffix}.pem" for suffix in ("", *(f"-{count}" for count in range(1, len(taken) + 1))))
        return next(name for name in names if name not in taken)


def _without_root(chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    return chain[:-1] if chain and chain[-1].is_self_issued else chain
