# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import csv
import io
import json
import os

import pytest
from ansible_collections.sessionops.policy.plugins.plugin_utils.output import output_folder, write_files
from ansible_collections.sessionops.policy.plugins.plugin_utils.report import (
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
