# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""extensions/awx/report_to_host.yml: a report that outlives the container that made it."""

from __future__ import annotations

import json
import os

from realhosts import CHECKOUT, booted, environment, run


def test_the_report_lands_on_the_host_for_reports(tmp_path):
    with booted("reports-deb13", "trixie") as machine:
        host = {machine.name: machine.variables}
        (tmp_path / "hosts.json").write_text(
            json.dumps({"all": {"hosts": host, "children": {"session_reports": {"hosts": {machine.name: {}}}}}})
        )
        # The home folder of the container is gone with it.
        words = ["ansible-playbook", "-i", tmp_path / "hosts.json", CHECKOUT / "extensions/awx/report_to_host.yml"]
        home = {**environment(), "HOME": str(tmp_path / "home"), "SSH_AUTH_SOCK": os.devnull}
        done = run(words, env=home)
        assert done.returncode == 0, done.stdout + done.stderr
        kept = machine.exec("cd /var/lib/session-reports && stat -c '%n %a %U' . *").stdout.split("\n")
        assert {". 700 root", "report.html 600 root", "sessions.json 600 root"} <= set(kept), kept
