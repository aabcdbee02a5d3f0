"""How the loop's events reach people and programs: a line of a log each, and a POST to a webhook for those that matter.

Nothing here keeps the loop waiting or fails it. What is posted is what somebody may have to act on: changes of an
appliance's sync and health, of the source, and applies. Conditions are the detail of these, and are in the log only. A
webhook that does not take an event is asked again for a quarter of an hour, in which the events after it wait in their
order; what does not fit into the queue is lost, and so is what still waits when the loop has ended. Both are counted.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

import anyio
import httpx

from reconciler.base.errors import StoreUnreachable, UsageError
from reconciler.base.secrets import resolve
from reconciler.base.text import printable
from reconciler.live.network import HTTPS
from reconciler.report.words import counted
from reconciler.watch.model import EventKind

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from reconciler.base.clock import Clock
    from reconciler.base.references import SecretReference
    from reconciler.live.network import Network
    from reconciler.watch.model import Event

POSTED = frozenset({EventKind.SYNC, EventKind.HEALTH, EventKind.SOURCE, EventKind.APPLY})
"""What a webhook is told of."""
_QUEUE = 1000
_DELAYS = (1.0, 5.0, 25.0, *[60.0] * 14)
"""Seconds after which a POST that failed is tried again: for a quarter of an hour, since a receiver may restart."""
_SILENCE, _PATIENCE = 10.0, 30.0
"""Seconds without a byte, and for a whole POST, until it counts as failed: an answer may come a byte at a time."""
_HTTP = 80
_AGAIN = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS})
"""Answers below 500 that ask to come again."""
_log = logging.getLogger(__name__)


class LogFormat(StrEnum):
    """How a line of the log is written."""

    CONSOLE = "console"
    JSON = "json"


class Lines(logging.Handler):
    """Writes events, and the program's own warnings, as a line each."""

    def __init__(self, stream: TextIO, log_format: LogFormat, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._stream, self._format, self._clock = stream, log_format, clock

    def tell(self, event: Event) -> None:
        """Write an event."""
        if self._format is LogFormat.JSON:
            self._write(event.model_dump_json(ensure_ascii=True))
            return
        change = f"{event.before} -> {event.after}" if event.before else event.after
        what = " ".join(filter(None, (event.appliance, event.kind.value)))
        self._console(event.at, f"{what}: {change}{f' - {event.message}' if event.message else ''}")

    def emit(self, record: logging.LogRecord) -> None:
        """Write what the program says of itself. Of an error the type: what it holds is for `--debug`."""
        kind = record.exc_info[0] if record.exc_info else None
        more = f": {kind.__name__}, told in full by `reconciler --debug watch`" if kind else ""
        level, message, now = record.levelname.lower(), record.getMessage() + more, self._clock()
        if self._format is LogFormat.JSON:
            self._write(json.dumps({"at": _stamp(now), "kind": "log", "level": level, "message": message}))
        else:
            self._console(now, f"{level}: {message}")

    def _console(self, at: dt.datetime, text: str) -> None:
        self._write(printable(f"{_stamp(at)} {text}"))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it has gone; appliances are in need of care all the same


def _stamp(at: dt.datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


class Webhook:
    """Posts events to a URL, one after the other."""

    def __init__(
        self, url: str, network: Network, delays: Sequence[float] = _DELAYS, patience: float = _PATIENCE
    ) -> None:
        """Take in where to post to.

        Args:
            url: The URL. It is a secret: what is in it is not told to anybody.
            network: What may be contacted.
            delays: Seconds after which it is tried again.
            patience: Seconds that a POST may take.

        Raises:
            UsageError: It is no URL that can be posted to, or the operator's settings do not allow its host.
        """
        self._lost = 0
        self._url, self._sent_as = _target(url, network)
        self._delays, self._patience = delays, patience
        self._waiting: deque[str] = deque()
        self._news = anyio.Event()
        self._closed = False
        # What has been told: that it fails, that no more can wait, how many were lost.
        self._failing = self._full = False
        self._told = 0

    def tell(self, event: Event) -> None:
        """Have an event posted, if it is of a kind that is."""
        if event.kind not in POSTED:
            return
        if len(self._waiting) >= _QUEUE:
            self._lost += 1
            if not self._full:
                _log.warning("%d events wait for the webhook, and no more can: further ones are lost", _QUEUE)
            self._full = True
            return
        self._waiting.append(event.model_dump_json())
        self._news.set()

    def lost(self) -> int:
        """How many events did not reach it."""
        return self._lost

    def close(self) -> None:
        """Have `run` return when all is posted that waits."""
        self._closed = True
        self._news.set()

    async def run(self) -> None:
        """Post what comes. What waits when this ends, or is ended, is lost."""
        try:
            async with httpx.AsyncClient(timeout=_SILENCE, trust_env=False) as client:
                while self._waiting or not self._closed:
                    while self._waiting:
                        await self._deliver(client, self._waiting[0])
                        self._waiting.popleft()
                    if not self._failing:
                        self._count()
                    self._news = anyio.Event()
                    if not self._closed:
                        await self._news.wait()
        finally:
            self._lost += len(self._waiting)
            self._waiting.clear()
            self._count()

    async def _deliver(self, client: httpx.AsyncClient, body: str) -> None:
        """Post an event, again and again where that makes sense."""
        delays = iter(self._delays)
        while True:
            why, again = await self._post(client, body)
            self._note(why)
            if not why:
                return
            delay = next(delays, None) if again else None
            if delay is None:
                self._lost += 1
                return
            await anyio.sleep(delay)

    async def _post(self, client: httpx.AsyncClient, body: str) -> tuple[str, bool]:
        """Post an event once; why it was not taken, empty where it was, and whether it may be another time."""
        headers = {"Content-Type": "application/json", **self._sent_as.headers}
        try:
            # Whatever is answered beneath the status is not read: it may have no end.
            with anyio.fail_after(self._patience):
                async with client.stream(
                    "POST", self._url, content=body.encode(), headers=headers, extensions=self._sent_as.extensions
                ) as response:
                    code = response.status_code
        except TimeoutError:
            return "Timeout", True
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop goes on; the error's text may hold the URL
            return type(error).__name__, True
        if httpx.codes.is_success(code):
            return "", False
        return f"it answers {code}", code in _AGAIN or httpx.codes.is_server_error(code)

    def _note(self, why: str) -> None:
        """Say once that it does not work, and once that it does again."""
        if why and not self._failing:
            _log.warning("the webhook does not take events: %s", why)
        if self._failing and not why:
            _log.warning("the webhook takes events again")
        self._failing = bool(why)

    def _count(self) -> None:
        """Say how many did not reach it since that was said last."""
        if self._lost > self._told:
            _log.warning("%s did not reach the webhook", counted(self._lost - self._told, "event"))
            self._told, self._full = self._lost, False


class _SentAs:
    """How a request names the host that it is meant for, where it is sent elsewhere."""

    def __init__(self, headers: dict[str, str], extensions: dict[str, str]) -> None:
        self.headers, self.extensions = headers, extensions


def _target(text: str, network: Network) -> tuple[httpx.URL, _SentAs]:
    """Where to connect to, and what to say there: the URL with the address that the network has for its host."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    scheme, host = url.scheme, url.raw_host.decode("ascii").lower()
    if scheme not in {"http", "https"} or not host:
        raise UsageError("what the webhook's secret holds is not a URL", "put one like https://HOST/PATH into it")
    if scheme == "http" and not _is_here(host):
        raise UsageError("the webhook's URL begins with http://, so anybody could read along", "use one with https://")
    port = url.port or (HTTPS if scheme == "https" else _HTTP)
    try:
        address, its_port = network.address(host, port)
    except StoreUnreachable:  # its text names the host, and what stands in its place may be anything
        problem = "the host of the webhook's URL is not among those that may be contacted"
        remedy = "if it is right, add it to `hosts` in the operator settings, with its port unless that is 443"
        raise UsageError(problem, remedy) from None
    if (address, its_port) == (host, port):
        return url, _SentAs({}, {})
    named = url.netloc.decode("ascii").rpartition("@")[2]
    return url.copy_with(host=address, port=its_port), _SentAs({"Host": named}, {"sni_hostname": host})


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def webhook_of(
    reference: SecretReference | None, network: Network, environment: Mapping[str, str], folder: Path
) -> Webhook | None:
    """The webhook that the operator settings name, where they name one.

    Args:
        reference: Where its URL is found.
        network: What may be contacted.
        environment: The process's environment.
        folder: Where relative paths start.

    Raises:
        SecretUnavailable: The URL is not there.
        UsageError: It is no URL that can be posted to, or its host is not allowed.
    """
    if reference is None:
        return None
    return Webhook(resolve(reference, environment, folder).decode("utf-8", "replace"), network)
