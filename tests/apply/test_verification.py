"""Handshakes after an apply, with real TLS servers that serve what was foretold, what was before, or nothing."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.apply.verification import Served, Verified, verify
from reconciler.plan.model import Candidate, ServedName
from tests.support.authority import self_signed
from tests.support.presenting import Presenter, listening, refusing, serving_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.authority import Issued

pytestmark = pytest.mark.anyio
NAME, OTHER = "access.example.com", "east-1.example.com"
OLD, NEW, STRANGE = self_signed([NAME]), self_signed([NAME]), self_signed(["else.example.org"])
SOON = 0.3


def row(
    name: str | None, *, before: Sequence[Issued | str] = (OLD,), after: Sequence[Issued | str] = (NEW,)
) -> ServedName:
    def candidates(held: Sequence[Issued | str]) -> tuple[Candidate, ...]:
        refs = [each if isinstance(each, str) else each.certificate.fingerprint for each in held]
        return tuple(Candidate(certificate=each, label="a certificate", good=True) for each in refs)

    return ServedName(name=name, before=candidates(before), after=candidates(after))


async def seen(answer: Callable[[socket.socket], None], *rows: ServedName, patience: float = 0.0) -> list[Verified]:
    with listening(answer) as address:
        return list(await verify(rows, {}, address, patience=patience, within=SOON))


async def test_each_name_is_asked_for_and_none_is_sent_where_none_is_meant() -> None:
    presenter = Presenter(NEW, {OTHER: STRANGE})
    rows = (row(NAME), row(OTHER, after=[STRANGE]), row(None))
    found = await seen(presenter, *rows)
    assert [each.name for each in found] == [NAME, OTHER, None]
    assert {each.served for each in found} == {Served.AS_EXPECTED}
    assert {each.sentence for each in found} == {""}
    assert sorted(presenter.asked, key=str) == [None, NAME, OTHER]


async def test_any_candidate_of_the_prediction_is_as_expected() -> None:
    [found] = await seen(Presenter(OLD), row(NAME, before=[OLD], after=[OLD, NEW]))
    assert found == Verified(NAME, Served.AS_EXPECTED, OLD.certificate.fingerprint)


async def test_what_was_served_before_is_told_as_previous() -> None:
    [found] = await seen(Presenter(OLD), row(NAME))
    assert found.served is Served.PREVIOUS
    assert found.sentence == (
        f"clients of {NAME} are shown the previous certificate ({OLD.certificate.fingerprint[:12]})"
    )


async def test_what_should_never_be_served_is_told_as_another() -> None:
    [found] = await seen(Presenter(STRANGE), row(None))
    assert found == Verified(None, Served.ANOTHER, STRANGE.certificate.fingerprint)
    assert found.sentence.startswith("clients that send no server name are shown another certificate (")


async def test_what_came_into_being_is_known_by_its_fingerprint() -> None:
    foretold = row(NAME, after=["new:access@east-1"])
    with listening(Presenter(NEW)) as address:
        bound = {"new:access@east-1": NEW.certificate.fingerprint}
        [found] = await verify([foretold], bound, address, patience=0)
        [unbound] = await verify([foretold], {}, address, patience=0)
    assert (found.served, unbound.served) == (Served.AS_EXPECTED, Served.ANOTHER)


def closes(connection: socket.socket) -> None:
    connection.recv(4096)


def speaks_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def stays_silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def presents_nonsense(connection: socket.socket) -> None:
    broken = NEW.certificate.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x04", 1)
    presenter = Presenter(NEW)
    presenter.context = serving_context(broken, NEW)
    presenter(connection)


@pytest.mark.parametrize(
    ("answer", "served"),
    [
        (closes, Served.NO_CERTIFICATE),
        (speaks_http, Served.NO_CERTIFICATE),
        (presents_nonsense, Served.NO_CERTIFICATE),
        (stays_silent, Served.TIMED_OUT),
    ],
)
async def test_what_presents_no_certificate(answer: Callable[[socket.socket], None], served: Served) -> None:
    [found] = await seen(answer, row(NAME))
    assert found == Verified(NAME, served)
    assert found.sentence == f"clients of {NAME} are not answered: {served.value}"


@pytest.mark.parametrize(
    ("address", "served"),
    [
        (refusing(), Served.REFUSED),
        (("224.0.0.1", 443), Served.REFUSED),
        (("nowhere.invalid", 443), Served.NOT_RESOLVING),
    ],
)
async def test_what_cannot_be_connected_to(address: tuple[str, int], served: Served) -> None:
    assert await verify([row(NAME)], {}, address, patience=0) == (Verified(NAME, served),)


async def test_where_nothing_was_foretold_nothing_is_as_expected() -> None:
    nothing = row(NAME, after=[])
    assert [each.served for each in await seen(closes, nothing)] == [Served.AS_EXPECTED]
    assert [each.served for each in await seen(Presenter(OLD), nothing)] == [Served.PREVIOUS]
    assert await verify([nothing], {}, refusing(), patience=0) == (Verified(NAME, Served.REFUSED),)


async def test_a_front_end_that_takes_a_moment_is_waited_for() -> None:
    old, new = Presenter(OLD), Presenter(NEW)
    switched = threading.Event()
    timer = threading.Timer(1.0, switched.set)
    timer.start()

    def answer(connection: socket.socket) -> None:
        (new if switched.is_set() else old)(connection)

    begun = anyio.current_time()
    found = await seen(answer, row(NAME), row(None), patience=20)
    timer.join()
    assert [each.served for each in found] == [Served.AS_EXPECTED] * 2
    assert 0.9 <= anyio.current_time() - begun < 10


async def test_one_that_never_changes_is_given_up_and_what_was_right_is_not_asked_again() -> None:
    presenter = Presenter(OLD, {OTHER: NEW})
    begun = anyio.current_time()
    found = await seen(presenter, row(NAME), row(OTHER), patience=0.7)
    assert [each.served for each in found] == [Served.PREVIOUS, Served.AS_EXPECTED]
    assert 0.7 <= anyio.current_time() - begun < 5
    assert presenter.asked.count(OTHER) == 1
    assert presenter.asked.count(NAME) > 2


async def test_names_do_not_wait_for_each_other() -> None:
    # Nobody takes these connections, as with an appliance behind a firewall that drops them.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = anyio.current_time()
        rows = [row(f"node-{number}.example.com") for number in range(8)]
        found = await verify(rows, {}, silent.getsockname(), patience=0, within=SOON)
        taken = anyio.current_time() - begun
    assert {each.served for each in found} == {Served.TIMED_OUT}
    assert taken < 5 * SOON
