# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what a module returned, whole, into the file that RESULT_FILE names."""

from __future__ import annotations

import json
import os
import pathlib

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: result_file
type: stdout
short_description: write a module's result into a file
description: Writes it into the file that RESULT_FILE names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "result_file"

    def _write(self, result, **_more):
        # 2.19 made it public.
        data = result.result if hasattr(result, "result") else result._result
        pathlib.Path(os.environ["RESULT_FILE"]).write_text(json.dumps(data))

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = v2_runner_on_skipped = _write
