# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import csv
import io
import json
import os
import re

import pytest
from ansible_collections.sessionops.policy.plugins.plugin_utils._output import output_folder, write_files
from ansible_collections.sessionops.policy.plugins.plugin_utils._report import (
    changes,
    read_previous,
    report_data,
    report_files,
)
from fleet import HOSTILE, fleet


@pytest.fixture(scope="module")
def data():
    return report_data(*fleet(20, 3))


def test_nothing_changed(data):
    told = changes(data, data)
    assert told.pop("since") == data["generated_at"]
    assert set(map(len, told.values())) == {0}


def test_what_came_and_went(data):
    before = copy.deepcopy(data)
    before["hosts"][0]["name"] = "old"
    before["hosts"][3]["status"] = "compliant"
    before["hosts"][3]["findings"][0]["result"] = "pass"
    ended = before["sessions"].pop(4)
    told = changes(before, data)
    assert (told["hosts_new"], told["hosts_gone"]) == (["web000"], ["old"])
    assert told["hosts_changed"] == [{"name": "web003", "before": "compliant", "now": "not_compliant"}]
    assert told["findings_new"] == [("web003", "unresponsive peer, client_alive_interval")]
    assert [one["id"] for one in told["sessions_started"]] == [ended["id"]]
    assert [one["id"] for one in changes(data, before)["sessions_ended"]] == [ended["id"]]


def test_a_host_that_could_not_be_seen_ended_no_session(data):
    now = copy.deepcopy(data)
    now["not_seen"].append({"host": "db001", "why": "down"})
    now["sessions"] = [one for one in now["sessions"] if one["host"] != "db001"]
    assert changes(data, now)["sessions_ended"] == []


def test_the_last_report_is_read_back(data, tmp_path):
    assert read_previous(tmp_path) == (None, None)
    document, looks = fleet(20, 3)
    write_files(tmp_path, report_files(document, looks, None))
    assert read_previous(tmp_path) == (data, None)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 0}', '{"format": 1}', '{"format": 1, "hosts": 3}', "\udcff"])
def test_what_is_no_report_is_doubted(tmp_path, text):
    (tmp_path / "sessions.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    found, doubt = read_previous(tmp_path)
    assert found is None and "not the data of a report" in doubt


def test_csv_has_a_row_a_session():
    document, looks = fleet(3, 5)
    rows = list(csv.DictReader(io.StringIO(report_files(document, looks, None)["sessions.csv"])))
    assert len(rows) == 15
    assert rows[0]["user"] == HOSTILE
    assert rows[0]["foreground"].startswith("vim \\x1b]0;owned")


def test_data_holds_what_the_modules_said():
    document, looks = fleet(3, 5)
    files = report_files(document, looks, None)
    sessions = json.loads(files["sessions.json"])["sessions"]
    assert sessions[7]["id"] == looks["db001"]["sessions"][2]["id"]


def ending(day, cause, **more):
    return {"ended_at": f"2026-{day}T08:00:00Z", "ended_by": cause, "how": "", "user": "alice", "kind": "exec", **more}


def test_endings_by_cause_over_time_and_where_people_are_cut():
    document, looks = fleet(4, 1)
    histories = {
        "web000": {"sessions": [ending("05-31", "idle_shell"), ending("06-01", "idle_shell", user=HOSTILE), ending("06-01", "exit")]},
        "db001": {"sessions": [ending("06-01", "connection_reset"), ending("04-01", "exit")]},
        "jump002": {"failed": True, "msg": "no Python"},
    }  # fmt: skip
    files = report_files(document, looks, None, histories)
    page = re.sub(r"\s+", " ", files["report.html"])
    causes = re.search(r'<table id="causes">.*?</table>', page).group()
    assert re.findall(r"<th scope=\"row\">(.*?)</th><td>(\d+)</td>", causes) == [
        ("idle shell", "2"), ("connection reset", "1"), ("exit", "1"),
    ]  # fmt: skip
    assert "<td>1</td><td>1</td></tr>" in causes
    cut = re.search(r'<table class="histogram" id="cut">.*?</table>', page).group()
    rows = re.findall(r"<th scope=\"row\">(\w+)</th><td>(\d+)</td><td>([\w ]+)</td>", cut)
    assert rows == [("web000", "2", "idle shell"), ("db001", "1", "connection reset")]
    assert HOSTILE not in page
    assert json.loads(files["sessions.json"])["endings"][1]["user"] == HOSTILE


def test_a_report_that_asked_for_no_history_is_silent_about_it():
    assert "Why sessions ended" not in report_files(*fleet(3, 1), None)["report.html"]
    assert "None ended in the last seven days" in report_files(*fleet(3, 1), None, {})["report.html"]


def test_where_reports_go(tmp_path):
    inventory = tmp_path / "site/hosts.yml"
    inventory.parent.mkdir()
    inventory.touch()
    here = str(tmp_path / "here")
    beside = tmp_path / "site/session-report"
    assert output_folder(None, [str(inventory)], here) == beside
    # A folder is an inventory as a whole: what lies in it would be read as hosts.
    assert output_folder(None, [str(inventory.parent)], here) == tmp_path / "session-report"
    assert output_folder(None, ["h1,h2,", str(inventory)], here) == beside
    assert str(output_folder(None, ["localhost,"], here)) == f"{here}/session-report"
    assert str(output_folder(None, ["/etc/ansible/hosts"], here)) == f"{here}/session-report"
    assert str(output_folder("out", [str(inventory)], here)) == f"{here}/out"
    assert str(output_folder("/out", [], here)) == "/out"


def test_files_are_for_us_alone_and_whole(tmp_path):
    folder = tmp_path / "new/one"
    write_files(folder, {"a": "first"})
    write_files(folder, {"a": "second\r\n", "b": "x"})
    assert (folder / "a").read_bytes() == b"second\r\n"
    assert sorted(os.listdir(folder)) == ["a", "b"]
    assert oct((folder / "a").stat().st_mode & 0o777) == "0o600"
