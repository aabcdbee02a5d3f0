"""`reconciler watch`: the reconcile loop, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reconciler.base.errors import ReconcilerError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit, worst
from reconciler.cli.options import DEFAULT_DESIRED_STATE, DesiredStatePath
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anyio.abc import TaskStatus

    from reconciler.apply.turns import Stop
    from reconciler.engine.operator import OperatorSettings
    from reconciler.watch.board import Board
    from reconciler.watch.events import Lines
    from reconciler.watch.memory import Memory
    from reconciler.watch.model import Event, Watched
    from reconciler.watch.notify import Notifier

_LAST_WORDS = 3.0
"""Seconds for events that were not posted yet when the loop has ended."""


def watch(
    context: typer.Context,
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Look at everything once, do what may be done, and exit as plan does.")
    ] = False,
    log: Annotated[
        Literal["json", "console"] | None,
        typer.Option(help="How events are written to stdout; for people on a terminal, else as JSON, unless told."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve health, metrics and the status page here, on loopback."),
    ] = None,
    no_endpoints: Annotated[
        bool, typer.Option("--no-endpoints", help="Serve no health, no metrics and no status page.")
    ] = False,
) -> Exit:
    """Look at every appliance when files, commits or time ask for it, tell what has changed, and apply where it may.

    What it may do is said beneath `watch` in the operator settings; without them it changes nothing. SIGHUP has it take
    changed settings; SIGTERM and SIGINT end it after the action in hand.
    """
    import anyio

    from reconciler.engine.operator import load_settings
    from reconciler.watch.memory import held, memory_folder

    read_settings = partial(load_settings, session_of(context).operator, os.environ, desired_state)
    settings, stop = read_settings(), Stopping(read_settings)
    place = None if no_endpoints or once else listen or settings.watch.listen
    with held(memory_folder(settings, os.environ)) as memory, _lines(log) as lines:
        board = anyio.run(_watch, desired_state, settings, memory, lines, place, once, stop)
    if stop.anew:
        _begin_anew()
    if once and board.ready:
        _say(_summary(board.watched))
    return worst(*_exits_of(board)) if once else Exit.DONE


class Stopping:
    """What signals ask of the loop.

    Attributes:
        anew: Whether it is to begin anew, with settings that have changed.
    """

    def __init__(self, read_settings: Callable[[], object]) -> None:
        self.anew = False
        self._read_settings = read_settings
        # Whoever started it at a terminal has gone when that hangs up, and does not ask for anything.
        self._heeds_hangup = sys.stdin is None or not sys.stdin.isatty()

    async def heed(self, stop: Stop, notifier: Notifier, *, task_status: TaskStatus[None]) -> None:
        """Have the loop end where a signal asks for it."""
        import anyio

        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
            task_status.started()
            async for number in received:
                if number == signal.SIGHUP and self._heeds_hangup:
                    self.anew = self._can_begin_anew()
                    if not self.anew:
                        continue
                    notifier.reloading()
                    _say("the settings are taken anew; an apply ends after the action in hand")
                else:
                    self.anew = False
                    notifier.stopping()
                    _say("ending; an apply ends after the action in hand")
                stop.request(f"stopped by {number.name}")

    def _can_begin_anew(self) -> bool:
        try:
            self._read_settings()
        except ReconcilerError as error:
            _say(f"it goes on with the settings that it has: {' '.join(str(error).split())}")
            return False
        return True


def _begin_anew() -> None:  # pragma: no cover - the process is another one then
    """Become a new process of the same command: the loop keeps what it knows, and nothing else has to be taken over."""
    # Until that one heeds signals: the default is to end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.stdout.flush()
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - what was started before, as it was started


@contextmanager
def _lines(log: str | None) -> Iterator[Lines]:
    """The log of events, in which the program's own warnings stand as well."""
    from reconciler.base.clock import system_clock
    from reconciler.watch.events import Lines, LogFormat

    told = LogFormat(log) if log else LogFormat.CONSOLE if sys.stdout.isatty() else LogFormat.JSON
    lines, logger = Lines(sys.stdout, told, system_clock), logging.getLogger("reconciler")
    logger.addHandler(lines)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)


async def _watch(
    desired_state: Path,
    settings: OperatorSettings,
    memory: Memory,
    lines: Lines,
    listen: str | None,
    once: bool,  # noqa: FBT001 - as it was given
    stopping: Stopping,
) -> Board:
    """Run the loop and everything around it; what it showed in the end.

    Args:
        desired_state: Folder of the desired state.
        settings: Operator settings.
        memory: What is kept across restarts.
        lines: The log of events.
        listen: Where health, metrics and the status page are served; None for nowhere.
        once: Whether one turn is enough.
        stopping: What signals ask of it.
    """
    import anyio

    from reconciler.apply.turns import Stop
    from reconciler.base.clock import system_clock
    from reconciler.engine.journals import journal_folder
    from reconciler.watch.endpoints import serving
    from reconciler.watch.events import webhook_of
    from reconciler.watch.loop import Loop, Surroundings
    from reconciler.watch.notify import Notifier
    from reconciler.watch.once import Once
    from reconciler.watch.schedule import RealTimer
    from reconciler.watch.sources import source_of

    source = Once(source_of(desired_state, settings)) if once else source_of(desired_state, settings)
    webhook = webhook_of(settings.watch.webhook, settings.network, os.environ, settings.folder or Path())

    def tell(event: Event) -> None:
        lines.tell(event)
        if webhook:
            webhook.tell(event)

    timer, journals = RealTimer(system_clock), journal_folder(settings, os.environ)
    loop = Loop(Surroundings(source, settings, system_clock, timer, memory, journals, tell))
    stop, notifier = Stop(), Notifier(os.environ)
    async with AsyncExitStack() as around:
        url = await around.enter_async_context(serving(loop.board, listen)) if listen else ""
        async with anyio.create_task_group() as group:
            await group.start(stopping.heed, stop, notifier)  # before anybody is told that it is there
            group.start_soon(notifier.show_life, loop.board, system_clock)
            if isinstance(source, Once):
                group.start_soon(source.end, loop, stop)
            else:
                group.start_soon(_say_when_ready, loop.board)
            async with anyio.create_task_group() as posting:
                if webhook:
                    loop.board.lost = webhook.lost
                    posting.start_soon(webhook.run)
                notifier.ready()
                _say(f"watching {source.place}{f'; its status page is {url}' if url else ''}")
                await loop.run(stop)
                if webhook:
                    webhook.close()
                    posting.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS
            group.cancel_scope.cancel()
    return loop.board


async def _say_when_ready(board: Board) -> None:
    """Say how everything stands once all of it was looked at: nothing is told of what is well."""
    version = -1
    while not board.ready:
        version = await board.newer_than(version)
    _say(_summary(board.watched))


def _summary(watched: Watched) -> str:
    """How the appliances stand, in one line."""
    from collections import Counter

    from reconciler.report.words import counted

    def tally(found: Iterable[str]) -> str:
        return ", ".join(f"{number} {what}" for what, number in Counter(found).items())

    every = watched.appliances
    states = (tally(each.sync for each in every), tally(each.health for each in every))
    modes = tally(each.mode for each in every)
    return f"{counted(len(every), 'appliance')} looked at: {'; '.join(states)}; mode: {modes}"


def _say(message: str) -> None:
    sys.stderr.write(printable(f"reconciler: {message}") + "\n")
    sys.stderr.flush()


def _exits_of(board: Board) -> Iterator[Exit]:
    """What one turn tells the shell: as `plan` and `apply` would."""
    from reconciler.watch.model import ConditionType, Truth

    watched = board.watched
    if watched.source.trouble:
        _say(watched.source.problem)
        yield Exit.COULD_NOT
    if not board.ready:  # it was ended before, or met what nobody expected
        yield Exit.COULD_NOT
    for each in watched.appliances:
        failed = {one.type for one in each.conditions if one.status is Truth.FALSE}
        if ConditionType.OBSERVED in failed or each.looked_at is None:
            yield Exit.COULD_NOT
        if ConditionType.APPLIED in failed:
            yield Exit.FAILED
        if each.errors or ConditionType.VALID in failed:
            yield Exit.FINDINGS
