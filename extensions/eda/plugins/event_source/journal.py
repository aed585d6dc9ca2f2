# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event source for ansible-rulebook: what this collection did to sessions, read from a journal as it is written.

It follows journalctl, so it needs no library, reads a host's own journal as well as the folder of a host that collects
journals, and can run journalctl on another host. Where journalctl ends, it starts again behind the last line read.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
import typing as t

DOCUMENTATION = r"""
short_description: What sessionops.policy did to sessions, from the journal
description:
  - Gives an event for each line that C(session-reaper), M(sessionops.policy.session_terminate),
    M(sessionops.policy.leftover_remove) and M(sessionops.policy.config_transaction) write.
  - An event has C(deed), the words of the line, such as V(ended session); C(facts), what the line says of the session,
    with C(idle), C(age) and C(ends_in) as numbers; C(host), the host's name; C(identifier) and C(time).
  - Only lines written by root count, so that nobody else makes events with C(logger).
  - Braces in texts become parentheses. Commands and names are what people chose, and a playbook that gets them as a
    variable would evaluate C({{ }}) in them on the controller.
options:
  identifiers:
    description: Whose lines to read, by their syslog identifier.
    type: list
    elements: str
    default: [session-reaper, session-policy, session_terminate, leftover_remove]
  directory:
    description:
      - A folder with journals, such as C(/var/log/journal/remote) of C(systemd-journal-remote). The default is the
        host's own journal.
    type: str
  through:
    description:
      - The words in front of a command line that run it on the host with the journal, such as C([ssh, loghost]). The
        command line follows as one word. The default runs it here.
    type: list
    elements: str
"""

EXAMPLES = r"""
- sessionops.policy.journal:

- sessionops.policy.journal:
    directory: /var/log/journal/remote
    through: [ssh, loghost]
"""

IDENTIFIERS = ("session-reaper", "session-policy", "session_terminate", "leftover_remove")
NUMBERS = frozenset(("idle", "age", "ends_in"))
#: Seconds between the end of journalctl and its next start.
AGAIN = 5.0
#: Bytes of the longest line read; a longer one is none of ours.
LONGEST = 1 << 20
_FACT = "SESSIONOPS_"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_UNBRACED = str.maketrans("{}", "()")

logger = logging.getLogger(__name__)


class Queue(t.Protocol):
    async def put(self, event: dict) -> None: ...


def command_line(args: t.Mapping[str, t.Any], cursor: str | None = None) -> list[str]:
    """The words that follow the journal, from now on or from behind `cursor`.

    Raises:
        ValueError: an option that is none, or of the wrong type.
    """
    lists = {name: args.get(name) or () for name in ("identifiers", "through")}
    # ansible-rulebook adds options of its own.
    unknown = sorted(name for name in args if name not in (*lists, "directory") and not name.startswith("eda_"))
    if unknown:
        raise ValueError(f"the source journal has no option {', '.join(unknown)}, only identifiers, directory, through")
    for name, words in lists.items():
        if isinstance(words, str) or not all(isinstance(word, str) and word for word in words):
            raise ValueError(f"{name}: {words!r} is not a list of texts")
    directory = args.get("directory") or ""
    if not isinstance(directory, str):
        raise ValueError(f"directory: {directory!r} is not a path")
    words = ["journalctl", "--follow", "--quiet", "--output=json"]
    words += [f"--after-cursor={cursor}", "--no-tail"] if cursor else ["--lines=0"]
    words += [f"--directory={directory}"] if directory else []
    words += ["_UID=0", *(f"SYSLOG_IDENTIFIER={name}" for name in lists["identifiers"] or IDENTIFIERS)]
    return [*lists["through"], shlex.join(words)] if lists["through"] else words


def event_of(line: bytes) -> dict | None:
    """The event in a line of ``journalctl --output=json``; None if it is no deed of ours, or no JSON."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    # A text that is no UTF-8 comes as a list of bytes, a repeated field as a list of texts, a very long text as null.
    texts = {name: text for name, text in entry.items() if isinstance(text, str)} if isinstance(entry, dict) else {}
    if not {"MESSAGE", "SYSLOG_IDENTIFIER"} <= set(texts) or texts.get("_UID") != "0":
        return None
    facts: dict[str, str | int] = {}
    for field, text in texts.items():
        name = field[len(_FACT) :].lower()
        if field.startswith(_FACT):
            facts[name] = int(text) if name in NUMBERS and text.isdecimal() else text.translate(_UNBRACED)
    if not facts:
        return None
    event: dict[str, t.Any] = {
        "deed": re.split(r" [a-z_]+=", texts["MESSAGE"], maxsplit=1)[0].translate(_UNBRACED),
        "identifier": texts["SYSLOG_IDENTIFIER"].translate(_UNBRACED),
        "facts": facts,
    }
    if texts.get("__REALTIME_TIMESTAMP", "").isdecimal():
        event["time"] = int(texts["__REALTIME_TIMESTAMP"]) // 1_000_000
    # It picks hosts of an inventory, so it must be a name and no pattern.
    if _HOST.fullmatch(texts.get("_HOSTNAME", "")) and texts["_HOSTNAME"] not in ("all", "ungrouped"):
        event["host"] = texts["_HOSTNAME"]
    return event


def cursor_of(line: bytes) -> str | None:
    try:
        return str(json.loads(line)["__CURSOR"])
    except (ValueError, KeyError, TypeError):
        return None


async def main(queue: Queue, args: dict[str, t.Any]) -> None:
    """What ansible-rulebook calls; it ends when it is cancelled.

    Raises:
        ValueError: an option is wrong.
        OSError: journalctl, or what runs it, can't be started.
    """
    cursor = None
    while True:
        process = await asyncio.create_subprocess_exec(
            *command_line(args, cursor),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST,
        )
        try:
            async for line in _lines(process.stdout):
                cursor = cursor_of(line) or cursor
                event = event_of(line)
                if event is not None:
                    await queue.put(event)
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        logger.warning("what follows the journal ended with status %s; it starts again in %g s", status, AGAIN)
        await asyncio.sleep(AGAIN)


async def _lines(stream: asyncio.StreamReader | None) -> t.AsyncIterator[bytes]:
    assert stream is not None
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than LONGEST: thrown away
        if not line:
            return
        yield line
