# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""report.yml with real people on real hosts, one of whom chose everything to hurt whoever looks."""

from __future__ import annotations

import csv
import json
import os
import re

import pytest
from realhosts import CHECKOUT, Machine, Person, playbook, until

HOSTILE = "<script>alert(1)"
# A program's name, of which the kernel keeps 15 bytes: a terminal's escape sequence, markup, and a template.
PROGRAM = r"$'\e]0;<b>{{7*7}}'"
SHOWN = r"\x1b]0;<b>{{7*7}}"


@pytest.fixture(scope="module")
def people(fleet, tmp_path_factory):
    """alice edits, bob only has a shell, and a user with a hostile name runs a hostile program."""
    config = tmp_path_factory.mktemp("ssh") / "config"
    # The client takes no such name from its command line, though from a file.
    config.write_text(f'User "{HOSTILE}"\n')
    seated = []
    for machine in fleet:
        home = "install -d -m 700 -o 1777 -g 1777 /home/h /home/h/.ssh"
        keys = "install -m 600 -o 1777 -g 1777 ~alice/.ssh/authorized_keys /home/h/.ssh/"
        machine.exec(f"{home}; {keys}; echo '{HOSTILE}:*:1777:1777::/home/h:/bin/bash' >> /etc/passwd")
        words = [word if "@" not in word else "127.0.0.1" for word in machine.ssh_argv("nobody", "-tt")]
        seated += [
            Person(machine, "alice"),
            Person(machine, "bob"),
            Person(machine, "", client=["ssh", "-F", str(config), *words[1:]]),
        ]
    for one in seated:
        one.at_prompt(60)
    for editor, _shell, hostile in zip(*[iter(seated)] * 3):
        editor.type("vim notes.txt")
        hostile.type(f"cd; ln -s $(command -v sleep) {PROGRAM}; ./{PROGRAM} 900")
    for editor in seated[::3]:
        editor.reads("notes.txt")
    yield seated
    for one in seated:
        one.leaves()


def report(machines, folder, **variables):
    before = [machine.tree("/etc") for machine in machines if machine.name != "gone"]
    play = CHECKOUT / "playbooks/report.yml"
    done = playbook(machines, play, session_policy_output=str(folder), **variables)
    assert [machine.tree("/etc") for machine in machines if machine.name != "gone"] == before
    return done.stdout, json.loads((folder / "sessions.json").read_text())


def test_who_is_on_is_shown_harmless_and_what_changed_is_told(fleet, people, tmp_path):
    gone = Machine("gone", "trixie", {**fleet[0].variables, "ansible_port": 9})
    said, first = report([*fleet, gone], tmp_path, session_policy_idle_timeout="30s")
    assert f"{tmp_path}/report.html" in said
    for machine in fleet:
        on = {one["user"]: one for one in first["sessions"] if one["host"] == machine.name and not one["is_self"]}
        assert {"alice", "bob", HOSTILE} <= set(on)
        assert [item["program"] for item in on["alice"]["work"]["editors"]] == ["vim"]
        assert on["alice"]["kind"] == "terminal" and on["bob"]["work"]["editors"] == []
        # The template in it is text to the controller, too.
        assert on[HOSTILE]["work"]["foreground"] == [SHOWN]
    assert [one["host"] for one in first["not_seen"]] == ["gone"]

    page = (tmp_path / "report.html").read_text()
    # Our own script and data, and nothing that a host brought along.
    assert re.findall(r"<script[^>]*>", page) == ['<script type="application/json" id="data">', "<script>"]
    assert page.count("</script>") == 2
    assert "<b>{{" not in page and "\x1b" not in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert HOSTILE in {row[1] for row in data["sessions"]}
    assert [SHOWN] in [row[8] for row in data["sessions"]]
    rows = list(csv.DictReader((tmp_path / "sessions.csv").open()))
    assert len(rows) == len(first["sessions"]) and HOSTILE in {row["user"] for row in rows}
    assert {
        oct(os.stat(tmp_path / name).st_mode & 0o777) for name in ("report.html", "sessions.json", "sessions.csv")
    } == {"0o600"}
    assert "What changed since" not in page

    people[1].leaves()
    until(lambda: "bob" not in fleet[0].exec("ps -eo args=").stdout, 20)
    report(fleet, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "What changed since" in page
    assert "Hosts that are gone: 1" in page and "<li>gone</li>" in page
    assert re.search(rf"Sessions that ended: \d+.*?<li>{fleet[0].name}: bob terminal", page, re.S)


def test_a_last_report_that_is_none_is_said_and_left_out(fleet, tmp_path):
    (tmp_path / "sessions.json").write_text('{"format": 1}')
    said, _data = report(fleet[:1], tmp_path)
    assert "is not the data of a report" in said
    assert "What changed since" not in (tmp_path / "report.html").read_text()
