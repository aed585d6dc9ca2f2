# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes leftovers away on the host with the engine in argv[1], again and again for a while, and prints what it did.

argv[2] says what, as JSON: `wish` are fields of LeftoverWish, `protect` is the work that protects, `between` a command that is run between the look and the
act, `seconds` how long to go on (0: once).
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import time

sys.path.insert(0, sys.argv[1])
from engine import remove_leftovers
from engine.judge_leftovers import LeftoverWish
from engine.judge_sessions import Protection

asked = json.loads(sys.argv[2])
wish = LeftoverWish(**{"older_than": 0, **asked["wish"], "protection": Protection(asked.get("protect", ()))})


def look(roots, wanted):
    seen = remove_leftovers._look(roots, wanted)
    if asked.get("between"):
        subprocess.run(["sh", "-c", asked["between"]], check=True)
    return seen


end = time.monotonic() + asked.get("seconds", 0)
counts, reasons, sentences, rounds = collections.Counter(), collections.Counter(), collections.Counter(), 0
while True:
    result = remove_leftovers.Remover(look=look).run(wish, remove_leftovers.RemoveOptions())
    rounds += 1
    for outcome in result.outcomes:
        counts[outcome.outcome] += 1
        reasons.update(outcome.skipped_because)
        sentences.update([outcome.trouble] if outcome.trouble else [])
    if time.monotonic() >= end:
        break
print(json.dumps({"rounds": rounds, "outcomes": counts, "because": reasons, "troubles": sentences}))
