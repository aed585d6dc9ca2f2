# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what session_info reads of /proc, as JSON for the unit tests.

    testhost exec deb12 python3 - < tests/hosts/record_proc.py > tests/unit/.../recorded/bookworm.json

Files are text with undecodable bytes as surrogates; environ is left out.
"""

import json
import os

files, links, uids = {}, {}, {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        uids[pid] = os.stat(f"/proc/{pid}").st_uid
        for name in ("stat", "cmdline", "cgroup", "io", "sessionid"):
            with open(f"/proc/{pid}/{name}", "rb") as handle:
                files[f"{pid}/{name}"] = handle.read().decode("utf-8", "surrogateescape")
        for name in ("exe", "ns/pid", *(f"fd/{n}" for n in os.listdir(f"/proc/{pid}/fd"))):
            try:
                links[f"{pid}/{name}"] = os.readlink(f"/proc/{pid}/{name}")
            except OSError:
                pass
    except OSError:
        continue
for name in ("locks", "net/unix", "sys/kernel/random/boot_id"):
    with open(f"/proc/{name}") as handle:
        files[name] = handle.read()
utmp = ""
if os.path.exists("/run/utmp"):
    with open("/run/utmp", "rb") as handle:
        utmp = handle.read().hex()
with open("/proc/uptime") as handle:
    boot = float(handle.read().split()[0])
print(
    json.dumps({"files": files, "links": links, "uids": uids, "utmp": utmp, "boot": boot, "own": os.getpid()}, indent=0)
)
