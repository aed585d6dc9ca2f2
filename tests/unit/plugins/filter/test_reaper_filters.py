# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sessionops.policy.plugins.filter.reaper_engine import reaper_engine
from ansible_collections.sessionops.policy.plugins.filter.reaper_policy import reaper_policy

FOLDER = "/usr/local/lib/session-reaper/_engine"


def test_the_engine_as_files():
    there = reaper_engine(["model.py", "gone/old.py"])
    files = {entry.pop("path"): entry for entry in there["files"]}
    assert files[f"{FOLDER}/gone/old.py"] == {"state": "absent"}
    assert "class Session" in files[f"{FOLDER}/model.py"]["content"] and f"{FOLDER}/reaper/cli.py" in files
    assert all(path.endswith(".py") for path in files) and len(there["digest"]) == 64
    gone = reaper_engine(["model.py"], "absent")["files"]
    assert gone == [{"path": f"{FOLDER}/model.py", "state": "absent"}]


def test_a_policy_as_text():
    text = reaper_policy({"idle_timeout": "900", "max_session_age": "None", "users": {}, "metrics": "", "period": None})
    assert json.loads(text) == {"idle_timeout": "900", "users": {}}
    with pytest.raises(AnsibleFilterError, match=r"(?s)nothing was touched.*session_reaper_idle_timeout: .*windows"):
        reaper_policy({"idle_timeout": "x", "windows": ["y"]})
