# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends sessions on the host with the engine in argv[1], as JSON on stdout; killed at its argv[2]th deed (0: never).

argv[3] says whose, as JSON. A deed is what leaves something behind: each signal, each claim that is taken, written or given
back, each warning and each line of the log; the kill comes before it.
"""

from __future__ import annotations

import json
import sys

sys.path.insert(0, sys.argv[1])
from engine import end_sessions, syslog
from engine.act import claims, signals, warning
from engine.act.ending import Graces
from engine.judge_ending import Wish
from engine.judge_sessions import Filters, Protection
from mortal import Mortal

mortal = Mortal(int(sys.argv[2]))
asked = json.loads(sys.argv[3])


class Kernel(signals.Kernel):
    send = mortal(signals.Kernel.send)


class Claims(claims.Claims):
    take = mortal(claims.Claims.take)
    note = mortal(claims.Claims.note)
    release = mortal(claims.Claims.release)


terminator = end_sessions.Terminator(
    kernel=Kernel(), claims=Claims(), write=mortal(warning.write), log=mortal(syslog.log)
)
wish = Wish(Filters(users=asked["users"]), protection=Protection(asked.get("protect", ["editors"])), min_age=0)
options = end_sessions.Options(
    warn_grace=asked.get("warn_grace", 0.2), warn_message="soon", graces=Graces(0.3, 0.3), force=True
)
result = terminator.run(wish, options)
deeds = -mortal.left if int(sys.argv[2]) == 0 else None
print(json.dumps({
    "deeds": deeds,
    "outcomes": [[o.session.id, o.session.user, o.outcome] for o in result.outcomes],
    "signalled": [step.pid for o in result.outcomes for step in o.steps],
}))  # fmt: skip
