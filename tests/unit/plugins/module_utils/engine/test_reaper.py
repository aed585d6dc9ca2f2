# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reaper's judgement under injected clocks, its state, its policy, and what it shows."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import (
    Item,
    Leader,
    Observation,
    Session,
    Work,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.evidence import Evidence
from ansible_collections.sessionops.policy.plugins.module_utils._engine.reaper import metrics, policy, run, show, state
from ansible_collections.sessionops.policy.plugins.module_utils._engine.reaper.judge import judge_run, passed
from ansible_collections.sessionops.policy.plugins.module_utils._engine.reaper.state import Seen, State, Times
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

BOOT, WALL = "boot", 1_700_000_000.0
SESSION = Session(
    id="boot-10-20", logind_id="7", audit_id=7, user="alice", uid=1001, kind="terminal", session_class="user",
    state="active", seen_by=("proc",), service="sshd", remote_host="2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
    remote_port=1, ttys=("pts/3",), channels=(), login_at=None, age=0, idle=0, idle_signal="tty_input", output_idle=1,
    peer_unresponsive=False, work=Work(), troubles=(), is_self=False, leader=Leader(10, 20), processes=(),
)  # fmt: skip
SESSION = replace(SESSION, processes=("something",))
VIM = Work(editors=(Item("vim", 1, 2, "executable"),), foreground=("vim",))


class Host:
    """Sessions under a reaper whose clocks go as a test says; `ended` are (user, seconds since the last input)."""

    def __init__(self, **settings):
        self.policy = policy.parse(settings)
        self.settings = settings
        self.times = Times(WALL, 5000.0, 5000.0)
        self.state = None
        self.sessions, self.typed, self.input = {}, {}, {}
        self.warned, self.ended, self.stamps = [], [], itertools.count()
        self.minute = 0
        self.groups = lambda user: ()

    def login(self, user, began=0.0, work=Work(), **fields):  # noqa: B008
        name = f"boot-{user}"
        self.sessions[name] = (replace(SESSION, id=name, user=user, work=work, **fields), self.times.boot - began)
        self.type(user)

    def type(self, user):
        self.typed[f"boot-{user}"] = (str(next(self.stamps)), self.times.wall, self.times.running)

    def pass_time(self, seconds, asleep=0.0, step=0.0):
        """So long, of it `asleep` in suspend; `step` is how far somebody set the wall clock meanwhile."""
        wall, boot, running = self.times
        self.times = Times(wall + seconds + step, boot + seconds, running + seconds - asleep)

    def run(self):
        sessions, evidence = [], {}
        for name, (session, began) in self.sessions.items():
            stamp, at, _running = self.typed[name]
            sessions.append(replace(session, age=int(self.times.boot - began)))
            evidence[name] = Evidence(stamp, None, at)
        self.state, verdicts = judge_run(
            self.state, self.times, BOOT, sessions, evidence, self.policy, self.settings, self.groups, self.minute
        )
        kept = dict(self.state.sessions)
        for verdict in verdicts:
            if verdict.name == "warn":
                self.warned.append(verdict.session.user)
                kept[verdict.session.id] = verdict.seen
            elif verdict.name == "end":
                idle = self.times.running - self.typed[verdict.session.id][2]
                self.ended.append((verdict.session.user, idle))
                del self.sessions[verdict.session.id], kept[verdict.session.id]
        # As it would be read by the next run.
        self.state = state.parse(state.dump(self.state._replace(sessions=kept)), BOOT, self.times)
        return {verdict.session.user: verdict for verdict in verdicts}

    def runs(self, count, seconds=60.0):
        for _run in range(count):
            self.pass_time(seconds)
            self.run()


def test_it_warns_and_ends_within_two_periods():
    host = Host(idle_timeout="15m")
    host.run()
    host.login("alice")
    host.runs(30)
    assert host.warned == ["alice"]
    ((_user, idle),) = host.ended
    assert 900 <= idle <= 900 + 2 * 60


def test_who_types_after_the_warning_is_forgotten():
    host = Host(idle_timeout="15m")
    host.run()
    host.login("alice")
    host.runs(14)
    assert host.warned == ["alice"]
    host.type("alice")
    host.runs(13)
    assert not host.ended and host.warned == ["alice"]


@pytest.mark.parametrize(
    "jump",
    [
        {"seconds": 60, "step": 86400.0},
        {"seconds": 60, "step": -86400.0},
        {"seconds": 86400, "asleep": 86340.0},
        {"seconds": 86400},  # a machine that stood, with clocks that did not
    ],
    ids=["set forward", "set back", "suspend", "stopped"],
)
@pytest.mark.parametrize("settings", [{"idle_timeout": "15m"}, {"max_session_age": "12h"}], ids=["idle", "age"])
def test_nobody_ends_because_time_jumped(jump, settings):
    for minutes in range(15):
        host = Host(**settings)
        host.run()
        host.login("alice")
        host.runs(minutes)
        before = len(host.warned)
        host.pass_time(**jump)
        if jump.get("step", 0) < 0:
            with pytest.raises(state.Unusable, match="future"):
                state.parse(state.dump(host.state), BOOT, host.times)
            host.state = None
        host.run()
        host.run()
        assert not host.ended, minutes
        host.runs(1)
        # Whoever is near the limit is warned anew before anything ends.
        assert not host.ended or len(host.warned) > before, minutes
    host = Host(idle_timeout="15m")
    host.login("alice", began=100000.0)
    host.run()
    assert not host.warned and not host.ended


def test_a_reaper_that_comes_new_warns_before_it_ends():
    host = Host(idle_timeout="15m", max_session_age="8h")
    host.login("old", began=90000.0)
    assert host.run()["old"].name == "warn"
    assert not host.ended
    host.runs(1)
    assert [user for user, _idle in host.ended] == ["old"]


def test_24_hours_with_500_sessions():
    """People type at random, machines sleep, clocks are set; nobody ends who typed within the limit, nobody idle stays."""
    rolls = random.Random(6)
    host = Host(idle_timeout="15m", exempt_users=["user0", "user1"], users={"user2": {"idle_timeout": "1h"}})
    host.run()
    serial = itertools.count()
    pace = {}

    def newcomer():
        user = f"user{next(serial)}"
        host.login(user, work=VIM if rolls.random() < 0.05 else Work())
        pace[user] = rolls.choice([0.0, 0.0, 0.02, 0.2, 0.9])

    for _minute in range(24 * 60):
        while len(host.sessions) < 500:
            newcomer()
        kind = rolls.random()
        if kind < 0.01:
            host.pass_time(rolls.choice([4000.0, 40000.0]), asleep=3900.0)
        elif kind < 0.02:
            host.pass_time(60.0, step=rolls.choice([3600.0, 40000.0]))
        else:
            host.pass_time(60.0 + rolls.random())
        for name in list(host.sessions):
            user = name[5:]
            if rolls.random() < pace[user]:
                host.type(user)
        count = len(host.ended)
        host.run()
        for user, idle in host.ended[count:]:
            assert idle >= (3600 if user == "user2" else 900), user
            assert user in host.warned and user not in ("user0", "user1")
    assert len(host.ended) > 1000 and len(host.sessions) >= 400
    assert all(host.sessions[f"boot-{user}"] for user in ("user0", "user1"))


def test_verdicts():
    host = Host(
        idle_timeout="15m", max_session_age="4h", exempt_groups=["ops"], kinds=["terminal"], max_terminate=1,
        groups={"night": {"idle_timeout": "2h"}, "none": {"max_session_age": "none"}},
        users={"bob": {"idle_timeout": "none"}},
    )  # fmt: skip
    members = {"carol": {"ops"}, "dave": {"night"}, "bob": {"night"}}
    host.groups = lambda user: members.get(user, set())
    host.run()
    for user in ("alice", "erin", "bob", "carol", "dave"):
        host.login(user)
    host.login("vim", work=VIM)
    host.login("tunnel", kind="forward")
    host.runs(15)
    # One a run, and the other at the next.
    assert len(host.ended) == 1
    host.runs(1)
    assert sorted(user for user, _idle in host.ended) == ["alice", "erin"]
    names = {user: verdict.name for user, verdict in host.run().items()}
    assert names == {"bob": "active", "carol": "exempt", "dave": "active", "vim": "protected", "tunnel": "active"}
    host.runs(4 * 60)
    assert {user for user, _idle in host.ended} == {"alice", "erin", "bob", "dave"}


@pytest.mark.parametrize(
    ("windows", "minute", "is_open"),
    [([], 0, True), (["20:00-06:00"], 1200, True), (["20:00-06:00"], 359, True), (["20:00-06:00"], 360, False),
     (["08:00-12:00", "13:00-24:00"], 779, False), (["08:00-12:00", "13:00-24:00"], 1439, True)],
)  # fmt: skip
def test_windows(windows, minute, is_open):
    host = Host(idle_timeout="15m", windows=windows)
    assert host.policy.is_open(minute) is is_open
    host.minute = minute
    host.run()
    host.login("alice")
    host.runs(20)
    assert bool(host.ended) is bool(host.warned) is is_open
    if not is_open:
        assert host.run()["alice"].name == "later"
        host.minute = 1200
        assert host.run()["alice"].name == "warn"


def test_an_unknown_idle_time_ends_nobody():
    before = State(BOOT, Times(WALL, 0, 0), 0.0, {SESSION.id: Seen("", None, 5000.0, 0.0, 0.0, "idle")}, {}, {})
    for _run in range(40):
        times = Times(*(clock + 60 for clock in before.times))
        before, (verdict,) = judge_run(
            before, times, BOOT, [SESSION], {SESSION.id: Evidence("")}, policy.parse({"idle_timeout": 900}), {}, set, 0
        )
        assert verdict.name == "unknown"


@pytest.mark.parametrize(("bytes_a_minute", "ends"), [(0, True), (400, True), (100_000, False)])
def test_keepalives_are_no_work_of_a_connection_without_channels(bytes_a_minute, ends):
    settings = policy.parse({"idle_timeout": "15m"})
    times, before, moved, names = Times(WALL, 0.0, 0.0), None, 0, set()
    for _run in range(20):
        times, moved = Times(*(clock + 60 for clock in times)), moved + bytes_a_minute
        shown = {SESSION.id: Evidence("forwards ()", moved)}
        before, (verdict,) = judge_run(before, times, BOOT, [SESSION], shown, settings, {}, set, 0)
        before = before._replace(sessions={SESSION.id: verdict.seen})
        names.add(verdict.name)
    assert ("end" in names) is ends


def a_state(sessions=3):
    seen = {f"boot-{n}-20": Seen(f"pts/{n} 1700", None, 1000.5, 0.0, 800.0, "idle") for n in range(sessions)}
    return State(BOOT, Times(WALL, 900.0, 900.0), 900.0, seen, {"warned": 1, "terminated": 0, "failed": 0}, {})


def test_a_state_that_is_damaged_at_any_byte_is_not_believed():
    whole, now = state.dump(a_state()), Times(WALL + 60, 960.0, 960.0)
    assert state.parse(whole, BOOT, now) == a_state()
    for at, bit in itertools.product(range(len(whole)), (1, 32, 128)):
        for damaged in (whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :], whole[:at], whole + whole[:at] + b"x"):
            with pytest.raises(state.Unusable):
                state.parse(damaged, BOOT, now)


@pytest.mark.parametrize(
    ("boot", "now"),
    [("other", Times(WALL + 60, 960.0, 960.0)), (BOOT, Times(WALL - 60, 960.0, 960.0)),
     (BOOT, Times(WALL + 60, 800.0, 960.0)), (BOOT, Times(WALL + 60, 960.0, 800.0))],
)  # fmt: skip
def test_a_foreign_or_future_state_is_not_believed(boot, now):
    with pytest.raises(state.Unusable):
        state.parse(state.dump(a_state()), boot, now)


@given(st.binary())
def test_no_bytes_break_the_reading_of_a_state(data):
    with pytest.raises(state.Unusable):
        state.parse(data, BOOT, Times(WALL, 0, 0))


def test_a_state_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    state.save(str(tmp_path), a_state(1))
    kept = (tmp_path / "state").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        state.save(str(tmp_path), a_state(2))
    assert (tmp_path / "state").read_bytes() == kept and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([], "one JSON object"),
        ({"idle": 5}, "idle is no setting"),
        ({"idle_timeout": 10}, "too short"),
        ({"idle_timeout": True}, "not a duration"),
        ({"period": "1s"}, "not from 5s to 1h"),
        ({"mode": "kill"}, "none of enforce, report"),
        ({"protect": ["work"]}, "'work' is none of"),
        ({"exempt_users": "bob"}, "not a list of names"),
        ({"windows": ["20:00-20:00"]}, "no window"),
        ({"windows": ["20:00-24:30"]}, "no window"),
        ({"users": {"bob": {"idle_timeout": "1s"}}}, "bob: idle_timeout: '1s' is too short"),
        ({"max_terminate": 0}, "use mode report"),
        ({"metrics": "x.prom"}, "absolute path"),
        ({"force": "yes"}, "neither true nor false"),
    ],
)
def test_a_bad_policy_is_refused_with_a_sentence(bad, said):
    with pytest.raises(policy.Invalid, match=said):
        policy.parse(bad)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(policy.Invalid) as found:
        policy.parse({"idle_timeout": "x", "mode": "y", "strange": 1})
    assert len(str(found.value).splitlines()) == 3


def looked_at():
    host = Host(idle_timeout="15m")
    host.run()
    host.login("a-user-with-a-long-name")
    host.login("vim", work=VIM, remote_host=None, kind="console")
    host.runs(14)
    verdicts = list(host.run().values())
    seen = Observation(BOOT, (), (), 0, (), (), (), (None, None))
    return run.Look(seen, host.policy, host.state, verdicts, None, WALL)


def test_the_table_fits_80_columns():
    found = looked_at()
    plain, coloured = show.table(found.verdicts, False), show.table(found.verdicts, True)
    assert all(len(line) <= 80 and line.isprintable() for line in plain.splitlines()), plain
    assert "\x1b[" in coloured and "kept: editors" in plain and "ends in" in plain
    assert json.loads(json.dumps(show.listing(found.verdicts)))[0]["verdict"] == "warned"


def test_metrics_are_what_prometheus_reads():
    families = list(text_string_to_metric_families(metrics.metrics(looked_at(), 0.25)))
    assert len(families) == 9 and all(f.documentation and f.type in ("gauge", "counter") for f in families)
    values = {s.name: s.value for f in families for s in f.samples if not s.labels}
    assert values["session_reaper_protected"] == 1 and values["session_reaper_run_seconds"] == 0.25
    assert values["session_reaper_longest_idle_seconds"] >= 800
    assert sum(s.value for f in families for s in f.samples if s.labels) == 2


def test_time_between_two_runs_counts_as_far_as_it_was_watched():
    before = a_state()
    assert passed(before, Times(WALL + 60, 960.0, 960.0), 60) == (60.0, 0.0, False)
    late = passed(before, Times(WALL + 9000, 9900.0, 9900.0), 60)
    assert late.watched == 150 and late.jumped
    assert passed(None, Times(WALL, 1, 1), 60) == (0.0, 0.0, False)
