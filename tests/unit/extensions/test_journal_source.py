# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source: from a line of the journal, as the engine writes it, to an event."""

from __future__ import annotations

import asyncio
import json
import pathlib
import re
import runpy
import shlex
import struct

import pytest
import yaml
from ansible_collections.sessionops.policy.plugins.module_utils._engine import revert, syslog
from ansible_collections.sessionops.policy.plugins.module_utils._engine.reaper import run as reaper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
# As ansible-rulebook loads it.
SOURCE = runpy.run_path(str(CHECKOUT / "extensions/eda/plugins/event_source/journal.py"))
event_of, command_line = SOURCE["event_of"], SOURCE["command_line"]
RULEBOOK = CHECKOUT / "extensions/eda/rulebooks/session_policy.yml"


def entry(message: str, facts: dict, identifier: str = "session-reaper", **fields: object) -> bytes:
    """What journalctl prints of what the engine sends to the journal."""
    data, sent = syslog.datagram(identifier, syslog.NOTICE, message, facts), {}
    while data:
        name, _newline, data = data.partition(b"\n")
        (length,) = struct.unpack("<Q", data[:8])
        sent[name.decode()], data = data[8 : 8 + length].decode(), data[8 + length + 1 :]
    trusted = {"_UID": "0", "_HOSTNAME": "web1", "__REALTIME_TIMESTAMP": "1700000000123456", "__CURSOR": "s=1;i=2"}
    return json.dumps({**sent, **trusted, **fields}).encode()


def test_a_line_of_the_engine_becomes_an_event():
    facts = {"outcome": "failed", "user": "alice", "from": None, "idle": 901, "survivors": "bash:17,vim:18"}
    assert event_of(entry("could not end session", facts)) == {
        "deed": "could not end session",
        "identifier": "session-reaper",
        "host": "web1",
        "time": 1700000000,
        "facts": {"outcome": "failed", "user": "alice", "idle": 901, "survivors": "bash:17,vim:18"},
    }


def test_only_what_is_a_number_becomes_one():
    facts = event_of(entry("warned session", {"user": "1000", "logind_session": "7", "ends_in": 60, "age": "?"}))[
        "facts"
    ]
    assert facts == {"user": "1000", "logind_session": "7", "ends_in": 60, "age": "?"}


@pytest.mark.parametrize(
    "line",
    [
        entry("ended session", {"user": "alice"}, _UID="1000"),
        entry("ended session", {"user": "alice"}, _UID=["0", "1000"]),
        entry("watching all sessions", {}),
        entry("ended session", {"user": "alice"}, MESSAGE=[101, 255]),
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"MESSAGE": "x", "SYSLOG_IDENTIFIER": "session-reaper", "_UID": 0}',
    ],
)
def test_what_root_did_not_write_is_no_event(line):
    assert event_of(line) is None


@pytest.mark.parametrize("name", ["all", "ungrouped", "web*", "!web1", "web1,db1", "~web", "", "-i", "a:b", "{{ x }}"])
def test_a_host_name_that_is_a_pattern_is_left_out(name):
    assert "host" not in event_of(entry("ended session", {"user": "alice"}, _HOSTNAME=name))


def test_no_text_of_an_event_is_a_template():
    event = event_of(entry("ended {{ 1 }} session", {"preserved": "{{ lookup('pipe', 'id') }}:17", "why": "{% x %}"}))
    assert not set("{}") & set(json.dumps([event["deed"], *event["facts"].values()]))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["MESSAGE", "SYSLOG_IDENTIFIER", "_UID", "_HOSTNAME", "SESSIONOPS_IDLE", "SESSIONOPS_", "X"]),
        st.none() | st.text() | st.just("0") | st.lists(st.integers() | st.text()) | st.integers(),
    )
)
def test_no_line_stops_the_source(fields):
    event = event_of(json.dumps(fields).encode())
    assert event is None or (event["facts"] and isinstance(event["deed"], str))


def test_options():
    words = command_line({})
    assert words[0] == "journalctl" and "--lines=0" in words and "SYSLOG_IDENTIFIER=session-policy" in words
    assert "_UID=0" in words
    assert "--directory=/var/log/journal/remote" in command_line({"directory": "/var/log/journal/remote"})
    *way, line = command_line({"through": ["ssh", "loghost"], "identifiers": ["session-reaper"]}, "s=1;i=2")
    assert way == ["ssh", "loghost"]
    # As a shell on the other side reads it.
    assert {"--after-cursor=s=1;i=2", "--no-tail", "SYSLOG_IDENTIFIER=session-reaper"} <= set(shlex.split(line))
    for wrong in ({"match": "ALL"}, {"through": "ssh loghost"}, {"identifiers": [1]}, {"directory": 7}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            command_line(wrong)


def test_it_starts_again_behind_the_last_line(tmp_path):
    """journalctl ends after each line here, as it does where the connection to a log host breaks."""
    starts = tmp_path / "starts"
    line = shlex.quote(entry("ended session", {"user": "alice"}).decode())
    script = f'printf "%s\\n" "$1" >> {starts}; head -c 2000000 /dev/zero; echo; echo {line}'
    source = runpy.run_path(str(CHECKOUT / "extensions/eda/plugins/event_source/journal.py"))
    source["main"].__globals__["AGAIN"] = 0.01

    async def two_events() -> list[dict]:
        queue: asyncio.Queue = asyncio.Queue()
        running = asyncio.create_task(source["main"](queue, {"through": ["sh", "-c", script, "-"]}))
        events = [await asyncio.wait_for(queue.get(), 20) for _turn in range(2)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return events

    assert [event["deed"] for event in asyncio.run(two_events())] == ["ended session"] * 2
    first, second = starts.read_text().splitlines()[:2]
    assert "--lines=0" in first and "--after-cursor=s=1;i=2" in second


def test_the_rulebook_waits_for_words_that_the_engine_says():
    (ruleset,) = yaml.safe_load(RULEBOOK.read_text())
    waited_for = {deed for rule in ruleset["rules"] for deed in re.findall(r'"([^"]+)"', rule["condition"])}
    assert len(waited_for) == 4
    engine = pathlib.Path(revert.__file__).parent
    said = "".join(path.read_text() for path in engine.rglob("*.py"))
    assert {deed for deed in waited_for if f'"{deed}"' in said} == waited_for
    assert {reaper.IDENTIFIER, revert.IDENTIFIER} <= set(SOURCE["IDENTIFIERS"])
