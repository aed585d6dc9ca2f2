# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""extensions/awx/report_to_host.yml: a report that outlives the container that made it."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile

from realhosts import CHECKOUT, booted, environment, run


def test_the_report_lands_on_the_host_for_reports():
    # As in a container, the home folder is gone with the job. Its name is short: a control socket of ssh lies in it.
    with booted("reports-deb13", "trixie") as machine, tempfile.TemporaryDirectory(prefix="home-") as home:
        inventory = pathlib.Path(home, "hosts.json")
        groups = {"session_reports": {"hosts": {machine.name: {}}}}
        inventory.write_text(json.dumps({"all": {"hosts": {machine.name: machine.variables}, "children": groups}}))
        play = CHECKOUT / "extensions/awx/report_to_host.yml"
        env = {**environment(), "HOME": home, "SSH_AUTH_SOCK": os.devnull}
        done = run(["ansible-playbook", "-i", inventory, play], env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        kept = machine.exec("cd /var/lib/session-reports && stat -c '%n %a %U' . *").stdout.split("\n")
        assert {". 700 root", "report.html 600 root", "sessions.json 600 root"} <= set(kept), kept
