from __future__ import annotations

import io
import json
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute

from reconciler.base.errors import ReconcilerError, SecretUnavailable
from reconciler.base.references import EnvironmentSecret, FileSecret
from reconciler.live.network import Network
from reconciler.watch import events
from reconciler.watch.events import Lines, LogFormat, Webhook, webhook_of
from reconciler.watch.model import Event, EventKind
from tests.watch.receiver import SECRET, listening
from tests.watch.sample import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from anyio.abc import SocketStream

EVENT = Event(at=NOW, kind=EventKind.SYNC, appliance="east-1", before="Synced", after="OutOfSync", message="a \x1b b")


class TestLines:
    def told(self, log_format: LogFormat, event: Event = EVENT) -> str:
        stream = io.StringIO()
        Lines(stream, log_format, lambda: NOW).tell(event)
        return stream.getvalue()

    def test_programs_get_a_document(self) -> None:
        line = self.told(LogFormat.JSON)
        assert line.count("\n") == 1
        assert line.isascii()
        assert Event.model_validate_json(line) == EVENT

    def test_people_get_a_sentence(self) -> None:
        at = NOW.isoformat().replace("+00:00", "Z")
        assert self.told(LogFormat.CONSOLE) == f"{at} east-1 sync: Synced -> OutOfSync - a \\x1b b\n"
        source = Event(at=NOW, kind=EventKind.SOURCE, after="abc")
        assert self.told(LogFormat.CONSOLE, source) == f"{at} source: abc\n"

    @pytest.mark.parametrize("log_format", LogFormat)
    def test_warnings_of_the_program_stand_there_too(self, log_format: LogFormat) -> None:
        stream = io.StringIO()
        logger, lines = logging.getLogger("reconciler.test"), Lines(stream, log_format, lambda: NOW)
        logger.addHandler(lines)
        logger.info("not this")
        logger.warning("it is %s", "late\n")
        logger.error("unexpected", exc_info=ValueError(SECRET))
        logger.removeHandler(lines)
        first, second = stream.getvalue().splitlines()
        assert SECRET not in second
        assert "unexpected: ValueError, told in full by `reconciler --debug watch`" in second
        if log_format is LogFormat.JSON:
            at = NOW.isoformat().replace("+00:00", "Z")
            assert json.loads(first) == {"at": at, "kind": "log", "level": "warning", "message": "it is late\n"}
        else:
            assert first.endswith(r"warning: it is late\n")

    def test_a_reader_that_has_gone_changes_nothing(self) -> None:
        stream = io.StringIO()
        stream.close()
        Lines(stream, LogFormat.JSON, lambda: NOW).tell(EVENT)


@asynccontextmanager
async def posting(webhook: Webhook) -> AsyncIterator[Webhook]:
    """Everything is posted when the block is left."""
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(webhook.run)
            yield webhook
            webhook.close()


def event(after: str, kind: EventKind = EventKind.HEALTH) -> Event:
    return EVENT.model_copy(update={"kind": kind, "after": after})


@pytest.mark.anyio
class TestWebhook:
    async def test_what_matters_is_posted_in_its_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # the operator has not allowed it
        with listening() as receiver:
            async with posting(Webhook(receiver.url, receiver.network)) as webhook:
                await anyio.sleep(0.1)
                for kind in EventKind:
                    webhook.tell(event(kind.value, kind))
        assert [each.after for each in receiver.bodies] == ["sync", "health", "source", "apply"]

    async def test_it_is_tried_again_where_that_may_help(self, caplog: pytest.LogCaptureFixture) -> None:
        with listening() as receiver:
            receiver.answers = [500, 429, 204, 404, 302]
            webhook = Webhook(receiver.url, receiver.network, (0, 0, 0))
            async with posting(webhook):
                for after in "abcd":
                    webhook.tell(event(after))
        assert "".join(each.after for each in receiver.bodies) == "aaabcd"
        assert webhook.lost() == 2
        assert caplog.messages == [
            "the webhook does not take events: it answers 500",
            "the webhook takes events again",
            "the webhook does not take events: it answers 404",
            "the webhook takes events again",
            "2 events did not reach the webhook",
        ]

    async def test_a_receiver_may_restart_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        sleep = anyio.sleep

        async def briefly(seconds: float) -> None:
            slept.append(seconds)
            await sleep(0)

        with listening() as receiver:
            receiver.answers = [503] * 17
            async with posting(Webhook(receiver.url, receiver.network)) as webhook:
                monkeypatch.setattr(anyio, "sleep", briefly)
                for after in "abc":
                    webhook.tell(event(after))
            assert "".join(each.after for each in receiver.bodies) == "a" * 18 + "bc"
            assert slept[:4] == [1, 5, 25, 60]
            assert 14 * 60 < sum(slept) < 16 * 60
            receiver.answers = [503] * 18
            async with posting(Webhook(receiver.url, receiver.network)) as webhook:
                for after in "de":
                    webhook.tell(event(after))
            assert webhook.lost() == 1
        assert receiver.bodies[-1].after == "e"

    @pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"])
    async def test_an_answer_that_trickles_ends(self, answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
        async def trickle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(answer)
                with suppress(anyio.BrokenResourceError):
                    while True:
                        await anyio.sleep(0.02)
                        await stream.send(answer if answer.endswith(b"\r\n\r\n") else b"X-More: 1\r\n")

        with listening() as receiver:
            async with (
                await anyio.create_tcp_listener(local_host="127.0.0.1") as server,
                anyio.create_task_group() as group,
            ):
                receiver.port = server.extra(SocketAttribute.local_port)  # noqa: S610 - no database is in sight
                group.start_soon(server.serve, trickle)
                async with posting(Webhook(receiver.url, receiver.network, (0,), patience=0.3)) as webhook:
                    webhook.tell(event("a"))
                group.cancel_scope.cancel()
        refused = "the webhook does not take events: Timeout"
        assert caplog.messages == [refused, "1 event did not reach the webhook"]
        assert webhook.lost() == 1

    async def test_whatever_goes_wrong_the_next_event_is_posted(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object, **__: object) -> object:
            monkeypatch.undo()
            raise RuntimeError(SECRET)

        with listening() as receiver:
            monkeypatch.setattr(httpx.AsyncClient, "stream", broken)
            async with posting(Webhook(receiver.url, receiver.network, ())) as webhook:
                webhook.tell(event("a"))
                webhook.tell(event("b"))
        assert "".join(each.after for each in receiver.bodies) == "b"
        assert caplog.messages[0] == "the webhook does not take events: RuntimeError"
        assert SECRET not in caplog.text

    async def test_a_server_that_is_gone_is_told_without_its_url(self, caplog: pytest.LogCaptureFixture) -> None:
        with listening() as receiver:
            pass
        async with posting(Webhook(receiver.url, receiver.network, (0,))) as webhook:
            webhook.tell(event("a"))
        refused = "the webhook does not take events: ConnectError"
        assert caplog.messages == [refused, "1 event did not reach the webhook"]
        assert SECRET not in caplog.text

    async def test_what_does_not_fit_is_lost_and_counted(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "_QUEUE", 3)
        with listening() as receiver:
            webhook = Webhook(receiver.url, receiver.network)
            for after in "abcde":
                webhook.tell(event(after))
            assert webhook.lost() == 2
            async with posting(webhook):
                pass
        assert "".join(each.after for each in receiver.bodies) == "abc"
        assert caplog.messages == [
            "3 events wait for the webhook, and no more can: further ones are lost",
            "2 events did not reach the webhook",
        ]

    async def test_what_waits_in_the_end_is_lost_and_counted(self, caplog: pytest.LogCaptureFixture) -> None:
        with listening() as receiver:
            receiver.answers = [204, 503]
            webhook = Webhook(receiver.url, receiver.network, (60,))
            with anyio.fail_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(webhook.run)
                    for after in "abcd":
                        webhook.tell(event(after))
                    while not caplog.messages:  # noqa: ASYNC110 - nobody tells
                        await anyio.sleep(0.01)
                    group.cancel_scope.cancel()
        assert "".join(each.after for each in receiver.bodies) == "ab"
        assert webhook.lost() == 3
        refused = "the webhook does not take events: it answers 503"
        assert caplog.messages == [refused, "3 events did not reach the webhook"]

    async def test_a_secret_in_a_file_is_found_from_the_folder_of_the_settings(self, tmp_path: Path) -> None:
        with listening() as receiver:
            (tmp_path / "hook").write_text(receiver.url + "\n")
            webhook = webhook_of(FileSecret(file="hook"), receiver.network, {}, tmp_path)
            assert webhook is not None
            async with posting(webhook):
                webhook.tell(event("a"))
        assert len(receiver.bodies) == 1

    async def test_a_host_may_be_reached_elsewhere(self) -> None:
        with listening() as receiver:
            async with posting(Webhook(f"http://localhost/hook/{SECRET}", receiver.network)) as webhook:
                webhook.tell(event("a"))
        assert receiver.hosts == ["localhost"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"https://elsewhere.example.com/{SECRET}", "the host of the webhook's URL is not among"),
        (f"http://chat.example.com/{SECRET}", "begins with http://"),
        (f"ftp://chat.example.com/{SECRET}", "is not a URL"),
        (SECRET, "is not a URL"),
        (f"https://{SECRET}", "is not among"),
        (f"https://{SECRET}\0", "is not a URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_not_shown(url: str, why: str, tmp_path: Path) -> None:
    network = Network(frozenset({"chat.example.com:443", "chat.example.com:80"}))
    with pytest.raises(ReconcilerError) as refused:
        webhook_of(EnvironmentSecret(env="HOOK"), network, {"HOOK": url}, tmp_path)
    assert why in str(refused.value)
    assert SECRET not in str(refused.value)


def test_the_secret_may_not_be_there_or_not_be_wanted(tmp_path: Path) -> None:
    assert webhook_of(None, Network(), {}, tmp_path) is None
    with pytest.raises(SecretUnavailable):
        webhook_of(EnvironmentSecret(env="HOOK"), Network(), {}, tmp_path)
    network = Network(frozenset({"chat.example.com:443"}))
    assert webhook_of(EnvironmentSecret(env="HOOK"), network, {"HOOK": f"https://chat.example.com/{SECRET}"}, tmp_path)
