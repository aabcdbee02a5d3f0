"""What can be done to a certificate directory, one blocking function per operation of the `Driver` protocol.

Every change is the same: take the lock, read the directory, edit a copy of what it holds, derive the steps, carry them
out, reload. An operation decides only what the directory should hold afterwards, or refuses.
"""

from __future__ import annotations

import datetime as dt
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, assert_never, get_args

from reconciler.base.errors import ActionRefused, FormatError, StoreError, StoreUnreachable
from reconciler.base.text import printable
from reconciler.live.directory.change import Target, steps_between
from reconciler.live.directory.commit import commit, prepare
from reconciler.live.directory.export import export
from reconciler.live.directory.files import locked, make_folder, reason, shown
from reconciler.live.directory.importing import take
from reconciler.live.directory.reload import run_reload
from reconciler.live.directory.servable import ServableFile, load_key
from reconciler.live.directory.snapshot import LOCK, RESERVED, STORE, StoredRequest, holds_files, read_directory
from reconciler.live.driver import ExistingKey, NewKey
from reconciler.live.store import LiveCertificate, LiveStore, Origin, PendingRequest
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.issuing import certificate_request, self_signed
from reconciler.pki.keys import KeyKind, create_key, private_key
from reconciler.pki.reading import read
from reconciler.pki.selection import CandidateRule
from reconciler.pki.writing import write_key_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.live.directory.snapshot import Snapshot
    from reconciler.live.driver import CertificateForm, ExportedFile, ExportOptions, Upload
    from reconciler.pki.keys import PrivateKey

HAPROXY = CandidateRule(common_name=True, deep_wildcards=False, certain=True)
"""HAProxy selects by common name as well as by SAN; a wildcard stands for one label."""

LOCK_PATIENCE = 90.0
"""How long an operation waits for another process that holds the store, in seconds: longer than a reload may take."""

_FACTORY_LIFETIME = dt.timedelta(days=3650)
_CREATE = "make the store with `reconciler apply --create-stores`"


class StoreHeld(StoreUnreachable):
    """Somebody else holds the directory: nothing was read, and nothing has happened."""


class DirectoryStore:
    """One certificate directory.

    Args:
        root: The directory.
        clock: What the time is.
        reload_command: Makes the front end load the directory anew.
        patience: How long an operation waits for another process that holds the directory, in seconds.
    """

    def __init__(
        self, root: Path, clock: Clock, reload_command: Sequence[str] = (), *, patience: float = LOCK_PATIENCE
    ) -> None:
        self.root = root
        self._clock = clock
        self._reload_command = tuple(reload_command)
        self._patience = patience

    def observe(self) -> LiveStore:
        """Everything it holds. Changes nothing."""
        return _live_store(self._look())

    def create_self_signed(self, form: CertificateForm, valid_for: dt.timedelta) -> None:
        """Make a certificate that is its own issuer, valid from now on, and serve it."""

        def edit(snapshot: Snapshot, target: Target) -> None:
            key = _key_for(form, snapshot)
            certificate = self_signed(key, form.subject, form.subject_alternative_names, self._clock(), valid_for)
            target.keyed[certificate.fingerprint] = ServableFile(certificate, (), write_key_pem(key, None))
            target.call(certificate.fingerprint, form.friendly_name)

        self._change(edit)

    def create_request(self, form: CertificateForm) -> None:
        """Make a certificate request, and keep it with its key."""

        def edit(snapshot: Snapshot, target: Target) -> None:
            key = _key_for(form, snapshot)
            request = certificate_request(key, form.subject, form.subject_alternative_names)
            target.requests[request.fingerprint] = StoredRequest(request, write_key_pem(key, None))
            target.call(request.fingerprint, form.friendly_name)

        self._change(edit)

    def import_(self, upload: Upload) -> None:
        """Add every certificate of a file; serve those whose key is in it or in the store already."""
        try:
            contents = read(upload.content, upload.passphrase)
        except FormatError as error:
            raise ActionRefused(f"the file is not imported: {error.message}", error.remedy) from error
        self._change(lambda snapshot, target: take(contents, upload.friendly_name, snapshot, target))

    def set_default(self, fingerprint: str) -> None:
        """Make a certificate the one that is served where no name matches."""

        def edit(snapshot: Snapshot, target: Target) -> None:
            if fingerprint not in snapshot.keyed:
                raise _without_key(fingerprint) if fingerprint in snapshot.keyless else _absent(fingerprint)
            target.default = fingerprint

        self._change(edit)

    def remove(self, fingerprint: str) -> None:
        """Remove a certificate and all files that hold it."""

        def edit(snapshot: Snapshot, target: Target) -> None:
            if fingerprint == snapshot.metadata.factory:
                raise ActionRefused("the factory certificate cannot be removed", "leave it where it is")
            if fingerprint == snapshot.default:
                raise ActionRefused(
                    f"the certificate {fingerprint} is the default and cannot be removed",
                    "make another certificate the default first",
                )
            if target.keyed.pop(fingerprint, None) is None and target.keyless.pop(fingerprint, None) is None:
                raise _absent(fingerprint)

        self._change(edit)

    def remove_request(self, fingerprint: str) -> None:
        """Remove a pending request and its key."""

        def edit(_: Snapshot, target: Target) -> None:
            if target.requests.pop(fingerprint, None) is None:
                raise ActionRefused(f"there is no pending request {fingerprint}", "look at the store's status")

        self._change(edit)

    def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        """A certificate, its key, its chain, in the format that the choice asks for."""
        return export(self._look(), fingerprint, options)

    def recover(self) -> None:
        """Bring every chain part up to date, and reload, where an interrupted change left that due."""
        if self._look().reload_due:
            self._change(lambda _snapshot, _target: None)

    @contextmanager
    def reserved(self, given_up: Callable[[], bool] = bool) -> Iterator[None]:
        """Keep every other apply away from the directory. One that begins meanwhile waits, then looks again.

        Args:
            given_up: Whether nobody waits any longer.

        Raises:
            StoreUnreachable: Another process has been at work on it all the time, or it cannot be written.
        """
        with ExitStack() as held:
            if self.root.is_dir():  # where there is none, whatever is asked of it says so
                try:
                    make_folder(self.root / STORE)
                    held.enter_context(
                        locked(self.root / RESERVED, exclusive=True, patience=LOCK_PATIENCE, given_up=given_up)
                    )
                except OSError as error:
                    raise self._busy_or(error, StoreUnreachable, "cannot be changed") from error
            yield

    def exists(self) -> bool:
        """Whether the directory holds any file that a front end would try to load, sound or not.

        Raises:
            StoreUnreachable: It cannot be read.
        """
        try:
            return holds_files(self.root)
        except OSError as error:
            raise StoreUnreachable(f"{shown(self.root)} cannot be read: {reason(error)}", _remedy(error)) from error

    def create(self, factory_name: str) -> None:
        """Make the store, with its factory certificate as the default.

        Raises:
            ActionRefused: There is a store already, or it cannot be made.
        """

        def edit(snapshot: Snapshot, target: Target) -> None:
            if snapshot.entries:
                raise ActionRefused(
                    f"{shown(self.root)} holds certificates already", "use it as it is, or choose another path"
                )
            key, subject = create_key("ec-p256"), distinguished_name([("CN", factory_name)])
            certificate = self_signed(key, subject, (), self._clock(), _FACTORY_LIFETIME)
            target.keyed[certificate.fingerprint] = ServableFile(certificate, (), write_key_pem(key, None))
            target.default = target.factory = certificate.fingerprint

        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            make_folder(self.root)
        except OSError as error:
            raise ActionRefused(f"{shown(self.root)} cannot be made: {reason(error)}", "check its path") from error
        self._change(edit, must_hold_certificates=False)

    def not_waited_for(self) -> StoreUnreachable:
        """What is told of something that nobody waits for any longer, while another process holds the directory."""
        return StoreUnreachable(f"{shown(self.root)} is held by another process", "apply again when it has finished")

    def _look(self) -> Snapshot:
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.root / LOCK, exclusive=False, patience=self._patience))
            except OSError as error:
                raise self._busy_or(error, StoreUnreachable, "cannot be read") from error
            return self._read()

    def _read(self) -> Snapshot:
        snapshot = read_directory(self.root)
        if not snapshot.entries:
            raise StoreUnreachable(f"{shown(self.root)} holds no certificate that could be served", _CREATE)
        return snapshot

    def _change(self, edit: Callable[[Snapshot, Target], None], *, must_hold_certificates: bool = True) -> None:
        if not self.root.is_dir():
            raise StoreUnreachable(f"{shown(self.root)} does not exist", _CREATE)
        with ExitStack() as held:
            try:
                make_folder(self.root / STORE)
                held.enter_context(locked(self.root / LOCK, exclusive=True, patience=self._patience))
                prepare(self.root)
            except OSError as error:
                raise self._busy_or(error, ActionRefused, "cannot be changed") from error
            snapshot = self._read() if must_hold_certificates else read_directory(self.root)
            target = Target.of(snapshot)
            try:
                edit(snapshot, target)
            except FormatError as error:
                raise ActionRefused(error.message, error.remedy) from error
            if target != Target.of(snapshot) or snapshot.reload_due:
                commit(
                    self.root,
                    steps_between(snapshot, target),
                    reload_due=snapshot.reload_due,
                    reload=lambda: run_reload(self._reload_command),
                )

    def _busy_or(self, error: OSError, otherwise: type[StoreError], what: str) -> StoreError:
        if isinstance(error, TimeoutError):
            return StoreHeld(
                f"{shown(self.root)} has been held by another process for {LOCK_PATIENCE:g} seconds",
                "wait until it has finished, and run again",
            )
        if isinstance(error, InterruptedError):
            return self.not_waited_for()
        return otherwise(f"{shown(self.root)} {what}: {reason(error)}", _remedy(error))


def _live_store(snapshot: Snapshot) -> LiveStore:
    rows = [(each.leaf, True) for each in snapshot.keyed.values()]
    rows += [(each, False) for each in snapshot.keyless.values()]
    names, factory = snapshot.metadata.friendly_names, snapshot.metadata.factory
    certificates = [
        LiveCertificate(
            certificate,
            names.get(certificate.fingerprint) or certificate.subject.display,
            has_key,
            Origin.FACTORY if certificate.fingerprint == factory else Origin.ADMINISTRATOR,
        )
        for certificate, has_key in rows
    ]
    requests = [
        PendingRequest(
            each.fingerprint,
            each.public_key,
            each.key_kind,
            each.subject,
            each.subject_alternative_names,
            each.pem,
        )
        for each in (stored.request for stored in snapshot.requests.values())
    ]
    return LiveStore(
        certificates=tuple(sorted(certificates, key=lambda each: each.fingerprint)),
        requests=tuple(sorted(requests, key=lambda each: each.fingerprint)),
        default=snapshot.default,
        rule=HAPROXY,
        unfinished="the front end has not been reloaded since the last change" if snapshot.reload_due else "",
    )


def _key_for(form: CertificateForm, snapshot: Snapshot) -> PrivateKey:
    match form.key:
        case NewKey(kind):
            known: tuple[KeyKind, ...] = get_args(KeyKind)
            for each in known:
                if each == kind:
                    return create_key(each)
            raise ActionRefused(
                f"{printable(kind)!r} is no kind of key that can be made", f"choose one of {', '.join(known)}"
            )
        case ExistingKey(public_key):
            stored = snapshot.key(public_key)
            if stored is None:
                raise ActionRefused(f"the store holds no key {public_key}", "choose a new key, or a key that it holds")
            return private_key(load_key(stored))
        case _:
            assert_never(form.key)


def _absent(fingerprint: str) -> ActionRefused:
    return ActionRefused(f"there is no certificate {fingerprint}", "look at the store's status")


def _without_key(fingerprint: str) -> ActionRefused:
    return ActionRefused(f"the certificate {fingerprint} has no private key here", "import its key first")


def _remedy(error: OSError) -> str:
    if isinstance(error, NotADirectoryError):
        return "a file stands where the directory should be: move it away, or correct `path`"
    return "check permissions and free space"
