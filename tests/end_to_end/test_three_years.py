"""Three years of a failover pair: a real CA, a clock that is turned, and a run whenever something falls due.

The instants at which something falls due, and how much is to be done in three years, are worked out here from the
certificates and by arithmetic alone.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tests.end_to_end.years import EVERYTHING, MEMBERS, SECOND, Pair, TurnedClock, kind_of, make_pair, ready
from tests.support.authorities import objections, openssl_authority
from tests.support.authority import DAY, NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.live.store import PendingRequest
    from tests.support.authorities import OpenSSLAuthority

END = NOW + 3 * 365 * DAY
TURNAROUND = 2 * DAY
BACKDATED = dt.timedelta(hours=1)
"""CAs let a certificate begin a little before they hand it out."""
PAUSE = 200 * DAY
OVERDUE = 5 * DAY
"""How long a certificate has been due that was imported late."""
LATE = 20 * DAY
"""How long after the end of a certificate the CA answers that was silent."""


@dataclass(frozen=True)
class Course:
    """One configuration, and what happens in these years to which certificate; they are numbered from 0.

    Attributes:
        days: The lifetime of every certificate.
        renew_with: `same_key` or `new_key`.
        key: The kind of key.
        undeclared: Whether the stores are to hold exactly what is declared.
        silent: The CA answers the request for this one's successor only long after this one has expired.
        away_at_due: The primary is out of reach for ten days around the instant at which this one falls due.
        away_at_answer: The primary is out of reach for ten days around the answer that succeeds this one.
        backup_away: The same of the backup.
        ahead: This one's validity begins a day after the CA has handed it out.
        revoked: This one is declared to have been issued too early, ten days after it was handed out.
        late: Nobody runs anything from when this one is handed out until it is due already.
        pause: Nobody runs anything for 200 days, from when this one's predecessor has gone.
        overslept: Nobody runs anything from when this one is handed out until long after it has expired.
    """

    days: int
    renew_with: str
    key: str = "ec-p256"
    undeclared: str = "keep"
    silent: int = 1
    away_at_due: int = 2
    away_at_answer: int = 3
    backup_away: int = 4
    ahead: int = 5
    revoked: int = 6
    late: int = 8
    pause: int = 9
    overslept: int | None = None

    @property
    def margin(self) -> dt.timedelta:
        """How long before its end a certificate falls due."""
        return min(30 * DAY, self.days * DAY / 3)

    def begins(self, number: int, handed_out: dt.datetime) -> dt.datetime:
        """When the validity of a certificate begins."""
        return handed_out + DAY if number == self.ahead else handed_out - BACKDATED

    def recalled(self, number: int, handed_out: dt.datetime) -> dt.datetime | None:
        """From which day on a certificate is declared to have been issued too early."""
        day = (handed_out + 10 * DAY).date()
        return dt.datetime.combine(day, dt.time(), dt.UTC) if number == self.revoked else None

    @property
    def answers(self) -> list[dt.datetime]:
        """When the CA hands out certificates."""
        found = [NOW + TURNAROUND]
        while (successor := self._successor(len(found) - 1, found[-1])) <= END:
            found.append(successor)
        return found

    def _successor(self, number: int, handed_out: dt.datetime) -> dt.datetime:
        begins = self.begins(number, handed_out)
        ends = begins + self.days * DAY
        asked = self.recalled(number, handed_out) or ends - self.margin
        if number == self.silent:
            return ends + LATE
        if number == self.away_at_due and self.renew_with == "new_key":
            asked += 7 * DAY  # new keys are made on the primary alone
        if number == self.late:
            asked += OVERDUE
        if number == self.overslept:
            asked = ends + LATE
        if number == self.pause:
            asked = begins + 7 * DAY + PAUSE
        return asked + TURNAROUND

    @property
    def actions(self) -> Counter[str]:
        """How many actions of each kind there are to be."""
        answers, members = self.answers, len(MEMBERS)
        last = self.begins(len(answers) - 1, answers[-1])
        requests = len(answers) + (last + self.days * DAY - self.margin <= END)
        requests += self.renew_with == "same_key"  # while the primary is away with the pending one
        arrived = len(answers)
        if self.overslept is not None:
            arrived -= 1
            requests -= 1  # the one that is still pending is answered once more
        removed = arrived - 1 - (last + 7 * DAY > END)
        return Counter(
            {
                "create_request": requests,
                "import chain": 2 * members,
                "import leaf": arrived * members,
                "set_default": arrived * members,
                "remove": removed * members,
            }
        )

    def absences(self, number: int, due: dt.datetime) -> Iterator[tuple[str, dt.datetime, dt.datetime]]:
        """Who is out of reach while a certificate is in place, from when until when."""
        if number == self.away_at_due:
            yield "east-1", due - 3 * DAY, due + 7 * DAY
        if number == self.away_at_answer:
            yield "east-1", due + DAY, due + 11 * DAY
        if number == self.backup_away:
            yield "west-1", due + DAY, due + 11 * DAY


@dataclass
class Years:
    """The years as they go by.

    Attributes:
        course: What happens in them.
        pair: The appliances.
        authority: The CA.
        leaves: What it has handed out.
        handed_out: When.
        placed: The last of them that a run found valid.
        asked: The request that it has not answered, and when that was sent.
        away: Who is out of reach, and until when.
        recalled: What was issued before this instant is declared to be replaced.
        pausing: Until when nobody runs anything.
        runs: How many runs there were.
        actions: What they did.
    """

    course: Course
    pair: Pair
    authority: OpenSSLAuthority
    leaves: list[x509.Certificate] = field(default_factory=list)
    handed_out: list[dt.datetime] = field(default_factory=list)
    placed: x509.Certificate | None = None
    asked: tuple[PendingRequest, dt.datetime] | None = None
    away: tuple[str, dt.datetime] | None = None
    recalled: dt.datetime | None = None
    pausing: dt.datetime | None = None
    runs: int = 0
    actions: Counter[str] = field(default_factory=Counter)

    def go_by(self) -> None:
        """Let three years go by."""
        self.run()
        while (instant := self.next_instant()) <= END:
            foretold = self.just_before(instant)
            self.pair.clock.now = instant
            surprised = self.happen(instant)
            if not self.pausing:
                done = self.run()
                assert surprised or done == foretold, instant

    def next_instant(self) -> dt.datetime:
        """When something falls due next; after the end where nothing does any more."""
        return min((each for each in self.instants() if each > self.pair.clock.now), default=END + DAY)

    def instants(self) -> Iterator[dt.datetime]:
        """When something falls due, as far as the certificates and the world say."""
        if self.pausing:
            yield self.pausing
            return
        if self.away:
            yield self.away[1]
        answer = self.answer_at()
        if answer:
            yield answer
        if not self.leaves:
            return
        number, leaf = len(self.leaves) - 1, self.leaves[-1]
        yield self.due(leaf)
        yield leaf.not_valid_before_utc
        yield leaf.not_valid_after_utc + SECOND
        if number:
            yield self.kept_until()
        for _, begins, _ in self.course.absences(number, self.due(leaf)):
            yield begins

    def due(self, leaf: x509.Certificate) -> dt.datetime:
        """When a certificate falls due."""
        recalled = self.recalled if self.recalled and self.recalled > leaf.not_valid_before_utc else None
        return recalled or leaf.not_valid_after_utc - self.course.margin

    def kept_until(self) -> dt.datetime:
        """Until when the certificate before the present one stays."""
        before, present = self.leaves[-2:]
        return min(present.not_valid_before_utc + 7 * DAY, before.not_valid_after_utc - DAY)

    def answer_at(self) -> dt.datetime | None:
        """When the CA answers the request that is pending."""
        if self.asked is None:
            return None
        if len(self.leaves) - 1 == self.course.silent:
            return self.leaves[-1].not_valid_after_utc + LATE
        return self.asked[1] + TURNAROUND

    def just_before(self, instant: dt.datetime) -> Counter[str]:
        """One second before something falls due it is not done yet, and every name is served as it should be.

        Returns:
            What a plan as of that instant says will be done then.
        """
        self.pair.clock.now = instant - SECOND
        self.look()
        assert self.pausing or not ready(self.pair.plan())
        return Counter(kind_of(each) for each in ready(self.pair.plan(at=instant)))

    def happen(self, instant: dt.datetime) -> bool:
        """What others do at an instant: appliances go and come back, the CA answers. Whether anything happened."""
        self.pausing, before = None, (self.away, len(self.leaves))
        if self.away and self.away[1] == instant:
            self.pair.bring_back(self.away[0])
            self.away = None
        if self.leaves:
            for appliance, begins, ends in self.course.absences(len(self.leaves) - 1, self.due(self.leaves[-1])):
                if begins == instant:
                    self.pair.take_away(appliance)
                    self.away = appliance, ends
        if self.asked and self.answer_at() == instant:
            self.answer(self.asked[0], instant)
        return before != (self.away, len(self.leaves))

    def answer(self, request: PendingRequest, instant: dt.datetime) -> None:
        """The CA answers, and its answer is committed."""
        number = len(self.leaves)
        begins = self.course.begins(number, instant)
        ends = begins + self.course.days * DAY
        answer = self.authority.sign(request.request_data, not_before=begins, not_after=ends)
        for at in (begins, ends - SECOND):
            assert objections(answer, self.authority.chain, at) == ""
        self.leaves.append(x509.load_pem_x509_certificate(answer))
        self.handed_out.append(instant)
        self.asked = None
        if number == self.course.revoked:
            self.recalled = self.course.recalled(number, instant)
        since = f"\nissued_after: {self.recalled:%Y-%m-%d}" if self.recalled else ""
        self.pair.commit(answer, self.authority.chain, since)
        if number == self.course.overslept:
            self.pausing = ends + LATE
        if number == self.course.late:
            self.pausing = ends - self.course.margin + OVERDUE

    def run(self) -> Counter[str]:
        """Run, and look at what came of it: what was done."""
        now = self.pair.clock.now
        run = self.pair.run()
        self.runs += 1
        self.actions += run.kinds
        expired = {"expired"} if self.leaves and now > self.leaves[-1].not_valid_after_utc else set()
        valid = [each for each in self.leaves if each.not_valid_before_utc <= now <= each.not_valid_after_utc]
        self.placed = valid[-1] if valid else self.placed
        refused = {"served-not-good"} if self.placed and self.lost else set()
        assert run.errors == expired | refused | ({"unreachable"} if self.away else set()), now
        self.look()
        awaited = [each for each in self.pair.requests() if each.fingerprint in run.awaited]
        if awaited and self.asked is None:
            self.asked = awaited[0], now
        # Nobody can see a request that is out of reach: another is made then, and an answer to either does for both.
        assert all(self.away or each == self.asked[0] for each in awaited if self.asked)
        if len(self.leaves) - 1 == self.course.pause and now == self.kept_until():
            self.pausing = now + PAUSE
        return run.kinds

    def look(self) -> None:
        """Every name is well served everywhere, but for the times in which no run could have helped."""
        now = self.pair.clock.now
        assert self.pair.unserved(now, self.authority.chain[-1]) == (EVERYTHING if self.lost else frozenset()), now

    @property
    def lost(self) -> bool:
        """Whether nothing that is in place is valid, which no run could help."""
        return self.placed is None or self.pair.clock.now > self.placed.not_valid_after_utc


COURSES = [
    pytest.param(Course(90, "same_key"), id="90-same_key"),
    pytest.param(Course(47, "new_key", overslept=11), id="47-new_key"),
    pytest.param(Course(90, "new_key", key="rsa-2048", undeclared="remove"), id="90-new_key", marks=pytest.mark.prove),
    pytest.param(Course(47, "same_key", undeclared="remove", overslept=0), id="47-same_key", marks=pytest.mark.prove),
]


@pytest.mark.parametrize("course", COURSES)
def test_in_three_years_no_name_is_badly_served_where_a_run_could_prevent_it_and_nothing_is_done_twice(
    course: Course, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    authority = openssl_authority(tmp_path / "ca")
    pair = Pair(tmp_path, TurnedClock(), course.key, course.renew_with)
    make_pair(pair, authority.chain, undeclared=course.undeclared)
    years = Years(course, pair, authority)
    years.go_by()
    assert years.handed_out == course.answers
    assert years.actions == course.actions
    assert not pair.differences()
    record_property("cases", years.runs)
    for kind, number in sorted(years.actions.items()):
        record_property(kind, number)
