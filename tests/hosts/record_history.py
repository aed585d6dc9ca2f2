# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what session_history_info reads of a host, as JSON for the unit tests.

    testhost exec NAME python3 - < tests/hosts/record_history.py > tests/unit/.../recorded/history_RELEASE.json

Needs the engine that the role session_reaper brings. Lines that say nothing of an ending are left out.
"""

import base64
import json
import re
import sqlite3
import sys
import time
import zlib

sys.path.insert(0, "/usr/local/lib/session-reaper")
from _engine.observe import history_journal

NOISE = re.compile(
    r"pam_env|Accepted key|Postponed|Received SIGHUP|Server listening|Found matching|Startup finished in \d+ms"
    r"|Stopping (?!session-|Session |Permit User|systemd-user-sessions)"
)
FIELDS = ("__REALTIME_TIMESTAMP", *(name for name in history_journal.FIELDS if name != "_BOOT_ID"))
now = time.time()
rows = []
for text in history_journal.stream(history_journal.argv_of(now - 3600, now), 60):
    entry = json.loads(text)
    if not NOISE.search(str(entry.get("MESSAGE"))):
        row = [entry.get(name) for name in FIELDS]
        while row[-1] is None:
            row.pop()
        rows.append(row)
with open("/var/log/wtmp", "rb") as handle:
    wtmp = base64.b64encode(zlib.compress(handle.read(), 9)).decode()
try:
    wtmpdb = sqlite3.connect("file:/var/log/wtmp.db?mode=ro", uri=True).execute("select * from wtmp").fetchall()
except sqlite3.Error:
    wtmpdb = []
lines = ",\n".join(json.dumps(row) for row in rows)
rest = {"now": now, "fields": FIELDS, "wtmp": wtmp, "wtmpdb": wtmpdb}
print(json.dumps(rest)[:-1] + ',\n"journal": [\n' + lines + "\n]}")
