# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report: an audit, with who is on and what was left behind, as data for programs and as one page for people."""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import typing as t

import jinja2
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import format_duration
from ansible_collections.sessionops.policy.plugins.module_utils._engine.table import reasons
from ansible_collections.sessionops.policy.plugins.plugin_utils._audit import (
    FAIL,
    NOT_ENFORCED,
    PASS,
    STATUSES,
    WAIVED,
    as_csv,
    harmless,
    said,
    trouble_of,
    unseen,
    verdict,
)
from ansible_collections.sessionops.policy.plugins.plugin_utils._endings import FIELDS, most_cut, over_time

PAGE = pathlib.Path(__file__).resolve().parent / "page"
FORMAT = 1
# Worst first: what a cell of the matrix shows of several findings.
RESULTS = (FAIL, NOT_ENFORCED, WAIVED, PASS)
# Upper bounds of the idle histogram in seconds; what is beyond, and what is not known, follow.
IDLE_BOUNDS = (60, 300, 900, 3600, 14400, 86400)
# Which lists of `work` are shown, and the field that names a piece of it.
_WORK = {
    "editors": "program",
    "transfers": "program",
    "database_clients": "program",
    "package_managers": "program",
    "jobs": "command",
    "multiplexers": "program",
    "locks": "path",
}
SESSION_COLUMNS = (
    "host", "user", "kind", "state", "remote_host", "ttys", "login_at", "age", "idle", "idle_signal", "output_idle",
    "peer_unresponsive", "foreground", "work", "stale", "stale_because", "protected", "protected_because", "troubles",
    "is_self", "id",
)  # fmt: skip


def report_files(
    document: t.Mapping[str, t.Any],
    looks: t.Mapping[str, t.Any],
    previous: t.Mapping[str, t.Any] | None,
    histories: t.Mapping[str, t.Any] | None = None,
) -> dict[str, str]:
    """The files of a report by name.

    Args:
        document: the audit.
        looks: by host what session_info returned, failed looks and None among them.
        previous: the data of the last report.
        histories: by host what session_history_info returned; None if nobody asked.
    """
    data = report_data(document, looks, histories)
    return {
        "report.html": page(document, data, changes(previous, data) if previous else None),
        "sessions.json": json.dumps(data, indent=1) + "\n",
        "sessions.csv": as_csv(SESSION_COLUMNS, map(_csv_row, data["sessions"])),
    }


def report_data(
    document: t.Mapping[str, t.Any], looks: t.Mapping[str, t.Any], histories: t.Mapping[str, t.Any] | None = None
) -> dict[str, t.Any]:
    """What sessions.json holds, and what the next report is compared with."""
    ended = None
    if histories is not None:
        ended = [
            {"host": host, **{name: ending.get(name) for name in FIELDS}}
            for host in (row["name"] for row in document["hosts"])
            for ending in harmless(histories.get(host) or {}).get("sessions") or []
        ]
    sessions, leftovers, not_seen = [], [], []
    for row in document["hosts"]:
        host = row["name"]
        found = looks.get(host) or {}
        if "sessions" not in found:
            # Nobody asks a host that was unreachable a moment before; the audit says why it was.
            tried = found.get("failed") or found.get("unreachable")
            not_seen.append({"host": host, "why": trouble_of(found) if tried else row["findings"][0]["why"]})
        look = harmless(found)
        sessions += [{"host": host, **session} for session in look.get("sessions") or []]
        leftovers += [{"host": host, **leftover} for leftover in look.get("leftovers") or []]
    return {
        "format": FORMAT,
        "generated_at": document["generated_at"],
        "profile": document["profile"],
        "hosts": [
            {
                **{key: row[key] for key in ("name", "status", "distribution", "openssh")},
                "findings": [
                    {key: finding[key] for key in ("layer", "clock", "setting", "user", "shell", "kind", "result")}
                    for finding in row["findings"]
                ],
            }
            for row in document["hosts"]
        ],
        "sessions": sessions,
        "leftovers": leftovers,
        "endings": ended,
        "not_seen": not_seen,
    }


def read_previous(folder: pathlib.Path) -> tuple[dict[str, t.Any] | None, str | None]:
    """The data of the last report, or None with the reason if there is one that cannot be used."""
    path = folder / "sessions.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError("another version wrote it")
        changes(data, data)
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        return None, f"{path} is not the data of a report, so nothing is compared with it: {exc}."
    return data, None


# --- what changed -----------------------------------------------------------------------------------------------


def changes(before: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What came and went between two reports. Sessions are told apart by their id, which never comes again."""
    old = {row["name"]: row["status"] for row in before["hosts"]}
    new = {row["name"]: row["status"] for row in now["hosts"]}
    # A host that could not be seen says nothing about what is on it.
    hidden = {one["host"] for data in (before, now) for one in data["not_seen"]}

    def both(name: str, tell: t.Callable[[t.Any], tuple], skip: t.Container[str]) -> tuple[list, list]:
        was = {tell(one): one for one in before[name] if one["host"] not in skip}
        is_ = {tell(one): one for one in now[name] if one["host"] not in skip}
        return [is_[key] for key in is_ if key not in was], [was[key] for key in was if key not in is_]

    started, ended = both("sessions", lambda one: (one["host"], one["id"]), hidden)
    left, cleared = both("leftovers", _leftover_key, hidden)
    open_before, open_now = _open(before), _open(now)
    return {
        "since": before["generated_at"],
        "hosts_new": [name for name in new if name not in old],
        "hosts_gone": [name for name in old if name not in new],
        "hosts_changed": [
            {"name": name, "before": old[name], "now": new[name]}
            for name in new
            if old.get(name, new[name]) != new[name]
        ],
        "findings_new": [key for key in open_now if key not in open_before and key[0] in old],
        "findings_gone": [key for key in open_before if key not in open_now and key[0] in new],
        "sessions_started": started,
        "sessions_ended": ended,
        "leftovers_new": left,
        "leftovers_gone": cleared,
    }


def _leftover_key(one: t.Mapping[str, t.Any]) -> tuple:
    return tuple(one.get(name) for name in ("host", "kind", "pid", "start_time", "path"))


def _open(data: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """(host, what) of each finding that counts against its host."""
    return [
        (row["name"], label(finding))
        for row in data["hosts"]
        for finding in row["findings"]
        if finding["result"] in (FAIL, NOT_ENFORCED)
    ]


def label(finding: t.Mapping[str, t.Any]) -> str:
    kind = "" if finding["kind"] in ("value", finding["setting"]) else finding["kind"].replace("_", " ")
    words = (finding["clock"], finding["setting"], finding["shell"], finding["user"], kind)
    return ", ".join(word for word in words if word)


# --- the page ---------------------------------------------------------------------------------------------------


def page(document: t.Mapping[str, t.Any], data: t.Mapping[str, t.Any], changed: t.Mapping[str, t.Any] | None) -> str:
    """One HTML file that needs nothing else. Its policy lets no script run but the one that is hashed here."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["words"] = _words
    environment.globals.update(
        pairs=lambda found: [f"{one['name']}: {_words(one['before'])}, now {_words(one['now'])}" for one in found],
        findings=lambda found: [f"{host}: {what}" for host, what in found],
        people=lambda found: list(map(_who, found)),
        troubles=lambda found: [f"{one['host']}: {one['why']}" for one in found],
    )
    script, style = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    sessions, endings = data["sessions"], data["endings"]
    days, causes = over_time(endings or (), document["generated_at"])
    rows = {
        "sessions": [_session_row(session) for session in sessions],
        "leftovers": [
            [one[name] for name in ("host", "kind", "user", "command", "path", "age", "why")]
            for one in ({**dict.fromkeys(("user", "command", "path", "age")), **one} for one in data["leftovers"])
        ],
    }
    return environment.get_template("page.html.j2").render(
        document=document,
        verdict=verdict(document),
        statuses=STATUSES,
        clocks=_clocks(document),
        matrix=[(row, _cells(row)) for row in document["hosts"]],
        problems=_problems(document),
        histogram=_histogram(sessions),
        counts={
            "sessions": len(sessions),
            "people": len({session["user"] for session in sessions}),
            "over the timeout": sum(session["stale"] for session in sessions),
            "with work in them": sum(bool(_work(session)) for session in sessions),
            "leftovers": len(data["leftovers"]),
        },
        not_seen=data["not_seen"],
        asked=endings is not None,
        days=days,
        causes=causes,
        cut=most_cut(endings or ()),
        changed=changed,
        # In a script element nothing is markup but its end.
        data=_json_in_html(rows),
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def _words(text: object) -> str:
    return str(text).replace("_", " ")


def _who(one: t.Mapping[str, t.Any]) -> str:
    """A session or something left behind in a few words."""
    what = one.get("command") or one.get("path") or " ".join(one.get("ttys") or []) or one.get("remote_host")
    return " ".join(str(word) for word in (f"{one['host']}:", one.get("user"), one["kind"], what) if word)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json_in_html(value: t.Any) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _clocks(document: t.Mapping[str, t.Any]) -> list[str]:
    """In the order in which they are judged."""
    clocks = (finding["clock"] for row in document["hosts"] for finding in row["findings"] if not unseen(finding))
    return list(dict.fromkeys(clocks))


def _cells(row: t.Mapping[str, t.Any]) -> dict[str, tuple[str, str]]:
    """By clock the worst result, and the values in force."""
    cells = {}
    for clock in dict.fromkeys(finding["clock"] for finding in row["findings"]):
        findings = [finding for finding in row["findings"] if finding["clock"] == clock]
        worst = min((finding["result"] for finding in findings), key=RESULTS.index)
        values = dict.fromkeys("off" if f["in_force"] is None else str(f["in_force"]) for f in findings)
        cells[clock] = (worst, ", ".join(values))
    return cells


def _problems(document: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Findings that are not in order, each once with the hosts that have it, most hosts first."""
    found: dict[tuple, dict[str, t.Any]] = {}
    for row in document["hosts"]:
        for finding in row["findings"]:
            if finding["result"] != PASS:
                waiver = finding["waiver"]
                note = f"waived until {waiver['expires']}: {waiver['reason']}" if waiver else None
                text = said(finding) if unseen(finding) else reasons(finding)
                problem = {
                    "result": finding["result"], "seen": not unseen(finding), "what": label(finding), "text": text,
                    "waiver": note, "rules": finding["rules"], "hosts": [],
                }  # fmt: skip
                key = (finding["result"], problem["what"], text, note, *finding["rules"])
                found.setdefault(key, problem)["hosts"].append(row["name"])
    return sorted(found.values(), key=lambda problem: (RESULTS.index(problem["result"]), -len(problem["hosts"])))


def _histogram(sessions: t.Sequence[t.Mapping[str, t.Any]]) -> list[tuple[str, int, int]]:
    """(label, count, percent of the largest) of each range of idle time."""
    counts = [0] * (len(IDLE_BOUNDS) + 2)
    for session in sessions:
        idle = session["idle"]
        counts[-1 if idle is None else sum(idle >= bound for bound in IDLE_BOUNDS)] += 1
    texts = [format_duration(bound) for bound in IDLE_BOUNDS]
    labels = [
        f"under {texts[0]}",
        *(f"{low} to {high}" for low, high in zip(texts, texts[1:])),
        f"{texts[-1]} and more",
    ]
    most = max(counts) or 1
    return [(name, count, round(100 * count / most)) for name, count in zip([*labels, "not known"], counts)]


def _work(session: t.Mapping[str, t.Any]) -> list[str]:
    """Each piece of work in a session in a few words."""
    texts = []
    for kind, name in _WORK.items():
        for item in session["work"].get(kind) or []:
            text = str(item.get(name) or kind)
            files = item.get("files") or []
            if files:
                text += ": " + ", ".join(files[:2]) + (f" and {len(files) - 2} more" if len(files) > 2 else "")
            elif kind == "jobs":
                text += " (stopped)" if item.get("stopped") else " (job)"
            elif kind == "locks":
                text += " (lock)"
            texts.append(text)
    return texts


def _session_row(session: t.Mapping[str, t.Any]) -> list[t.Any]:
    """In the order that page.js has for its columns."""
    notes = ["over the timeout"] if session["stale"] else []
    notes += [f"protected: {', '.join(session['protected_because'])}"] if session["protected"] else []
    notes += [trouble["name"].replace("_", " ") for trouble in session["troubles"]]
    return [
        session["host"],
        session["user"],
        session["kind"],
        session["remote_host"],
        " ".join(session["ttys"]),
        session["login_at"],
        session["age"],
        session["idle"],
        session["work"].get("foreground") or [],
        _work(session),
        notes,
    ]


def _csv_row(session: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        **session,
        "foreground": session["work"].get("foreground"),
        "work": _work(session),
        "troubles": [trouble["name"] for trouble in session["troubles"]],
    }
