# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings: a wanted policy against what a host has in force. Pure functions over plain values.

A finding is compliant (True), not (False), or the host has nothing that could enforce
the clock, or nothing that tells (None); the last two say why in a sentence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Iterator, Mapping, Sequence

from .duration import parse_duration
from .observe.scanner import scanner_accepts
from .observe.sshd_config import canonical, sshd_seconds

UNRESPONSIVE = "unresponsive peer"
CHANNEL = "idle channel"
UNUSED = "unused connection"
SHELL = "idle shell"
SESSION = "idle session"
AGE = "session age"
GRACE = "login grace"
LIMIT = "limit"
LOCK = "session lock"
KEEPALIVE = "keepalive of clients"
# No clock: whether the daemon runs what is on disk.
RUNNING = "running configuration"

# Kinds of finding: the value in force; text that a scanner accepts while it has no effect; effect that it won't see.
VALUE = "value"
TEXT_ONLY = "text_only"
EFFECT_ONLY = "effect_only"

_HARDEN = "run the playbook sessionops.policy.harden with this policy"

_SSHD = (
    (UNRESPONSIVE, "client_alive_interval", "clientaliveinterval"),
    (UNRESPONSIVE, "client_alive_count_max", "clientalivecountmax"),
    (UNRESPONSIVE, "tcp_keep_alive", "tcpkeepalive"),
    (CHANNEL, "channel_idle_timeout", "channeltimeout"),
    (UNUSED, "unused_connection_timeout", "unusedconnectiontimeout"),
    (GRACE, "login_grace_time", "logingracetime"),
    (LIMIT, "max_sessions", "maxsessions"),
    (LIMIT, "max_startups", "maxstartups"),
)


@dataclass(frozen=True)
class Finding:
    """See RETURN of policy_info for what the fields mean."""

    layer: str
    clock: str
    setting: str
    wanted: Any
    in_force: Any
    compliant: bool | None
    source: str | None = None
    overridden_by: str | None = None
    why: str | None = None
    remedy: str | None = None
    rules: list[str] = field(default_factory=list)
    user: str | None = None
    shell: str | None = None
    bound: int | None = None  # seconds after which an unresponsive peer is really gone, on this version
    kind: str = VALUE


def judge_policy(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Findings on every setting of `wanted` that is not None, for the layers it names."""
    if wanted.get("state") == "absent":
        return []
    layers = wanted.get("layers") or []
    found: list[Finding] = []
    for layer, judge in _JUDGES:
        if layer in layers:
            found += judge(wanted, facts)
    if any(f.layer == "reaper" and f.clock == SESSION and f.compliant for f in found):
        # What nothing else on this host could enforce is enforced all the same.
        found = [f for f in found if f.compliant is not None or f.clock not in (SHELL, SESSION)]
    if wanted.get("scanned"):
        found += judge_text(found, facts)
    return [asdict(_with_remedy(f)) for f in found]


def _with_remedy(finding: Finding) -> Finding:
    return replace(finding, remedy=_HARDEN) if finding.compliant is False and not finding.remedy else finding


# --- text -------------------------------------------------------------------------------------------------------


def judge_text(found: Sequence[Finding], facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Where what a scanner reads and what is in force part ways: a finding for each such setting and layer."""
    by_setting: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        if finding.wanted is not None and finding.clock != RUNNING:
            by_setting.setdefault((finding.layer, finding.setting), []).append(finding)
    for (layer, setting), findings in by_setting.items():
        hits = facts["scanner"].get(f"{setting}.{layer}" if setting == "idle_timeout" else setting)
        if hits is None:
            continue
        # A shell that has no such clock, or accounts that others exempted, say nothing about the text.
        told = [f for f in findings if f.compliant is not None] or findings
        wrong = [f for f in told if not f.compliant]
        accepted = scanner_accepts(hits, findings[0].wanted)
        if accepted and wrong:
            yield _text_only(wrong[0], hits)
        elif not accepted and not wrong:
            yield _effect_only(findings[0], hits, facts)


def _text_only(finding: Finding, hits: Sequence[Mapping[str, Any]]) -> Finding:
    effect = f"in force is {_shown(finding.in_force)}" if finding.compliant is False else finding.why
    why = f"a scanner passes this host for the text in {hits[0]['source']}, but {effect}"
    return replace(finding, kind=TEXT_ONLY, source=hits[0]["source"], why=why, bound=None)


def _effect_only(finding: Finding, hits: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Finding:
    odd = next((hit for hit in hits if hit["value"] != finding.wanted), None)
    seen = f"reads {odd['value']} in {odd['source']}" if odd else "finds no line that it would accept"
    remedy = _HARDEN
    if odd and finding.setting == "max_logins" and odd["value"] == facts["limits"]["maxlogins"]["value"]:
        # This host's pam_limits counts the login that is just coming twice: text and effect cannot both be right.
        remedy = "waive it: on this host the text has to be one more than the effect"
    elif odd:
        remedy = f"write {finding.wanted} as a plain number there, or remove {odd['source']}"
    return replace(
        finding, kind=EFFECT_ONLY, compliant=False, remedy=remedy, bound=None, overridden_by=None, shell=None,
        why=f"it is in force, but a scanner {seen}",
    )  # fmt: skip


def alive_bound(interval: int, count_max: int, version: Sequence[int] | None) -> int | None:
    """Seconds until an unresponsive peer is cut, None if it never is.

    Interval * (CountMax + 1), twice that on 9.2 to 9.4 (measured: 12 s for 2 and 2). From 8.2 on a
    CountMax of 0 disables the end; before, it ended at the first missed probe.
    """
    number = tuple(version or ())
    if interval <= 0 or (count_max == 0 and number >= (8, 2)):
        return None
    bound = interval * (count_max + 1)
    return bound * 2 if (9, 2) <= number < (9, 5) else bound


def _same(in_force: Any, wanted: Any) -> bool:
    """Equal; of a clock, off is off whether it is 0 or not there."""
    return bool(in_force == wanted or (not in_force and not wanted))


def rule_ids(wanted: Mapping[str, Any], setting: str) -> list[str]:
    """`{"cis": "5.1.7"}` as ["cis 5.1.7"]; a benchmark may have several ids."""
    rules = []
    for benchmark, ids in sorted(((wanted.get("rules") or {}).get(setting) or {}).items()):
        rules += [f"{benchmark} {one}" for one in (ids if isinstance(ids, (list, tuple)) else [ids])]
    return rules


# --- sshd -------------------------------------------------------------------------------------------------------


def judge_sshd(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Finding]:
    sshd = facts["sshd"]
    asked = [row for row in _SSHD if wanted.get(row[1]) is not None]
    if not asked:
        return []
    blind = _blind(sshd)
    if blind:
        compliant, why, remedy = blind
        return [
            Finding(
                "sshd", clock, setting, wanted[setting], None, compliant, None, None, why, remedy,
                rule_ids(wanted, setting),
            )
            for clock, setting, _keyword in asked
        ]  # fmt: skip
    exempt = _exempt(wanted, facts, sshd["effective_by_user"])
    found = [_judge_keyword(wanted, sshd, exempt, *row) for row in asked]
    for user in exempt:
        found += _judge_exempt(wanted, sshd, user)
    for user in sshd["effective_by_user"]:
        if user not in exempt:
            found += _judge_user(wanted, sshd, user, asked)
    found += _lifted(wanted, sshd, asked)
    found += _traps(wanted, sshd)
    if sshd["current"] is not True and sshd["running"]:
        found.append(_not_current(sshd))
    return found


def _blind(sshd: Mapping[str, Any]) -> tuple[bool | None, str, str | None] | None:
    if not sshd["installed"]:
        return None, "there is no OpenSSH server on this host", None
    if sshd["config_ok"] is False:
        return False, f"sshd refuses its configuration: {sshd['config_error']}", f"repair {sshd['config']} first"
    if not sshd["effective"]:
        return None, f"sshd does not say what is in force: {sshd['config_error']}", "run as root"
    return None


def _exempt(wanted: Mapping[str, Any], facts: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Exempt accounts, those named and members of groups named, for which the host was `asked`."""
    names = list(wanted.get("exempt_users") or [])
    for group in wanted.get("exempt_groups") or []:
        names += (facts["groups"].get(group) or {}).get("members") or []
    return [n for n in dict.fromkeys(names) if n in asked]


def _judge_keyword(
    wanted: Mapping[str, Any], sshd: Mapping[str, Any], exempt: Sequence[str], clock: str, setting: str, keyword: str
) -> Finding:
    value = wanted[setting]
    in_force = read_value(keyword, sshd["effective"].get(keyword))
    origin = sshd["sources"].get(keyword) or {}
    source = origin.get("source")
    compliant: bool | None = _same(in_force, value)
    why = remedy = overridden_by = None
    if keyword in ("channeltimeout", "unusedconnectiontimeout") and not sshd["supports"]["channel_timeout"]:
        compliant = None
        why = f"OpenSSH {sshd['version']} has no such clock: it came with 9.2"
        remedy = "let the shell layer or the reaper end idle sessions"
    elif keyword == "channeltimeout" and in_force is None and exempt and value:
        compliant = None
        why = f"left off for the sake of {', '.join(exempt)}: sshd cannot exempt anybody from ChannelTimeout"
        remedy = "let the shell layer or the reaper end idle sessions"
    elif not compliant:
        raw = sshd["effective"].get(keyword)
        if keyword == "channeltimeout" and raw not in (None, "none"):
            why = f"'{raw}' does not name session:*, so it holds for no session channel"
        elif keyword == "clientalivecountmax" and in_force == 0 and sshd["supports"]["count_max_zero_disables"]:
            why = "since OpenSSH 8.2 a ClientAliveCountMax of 0 never ends a connection"
        elif source is None:
            why = f"nothing sets it: {_shown(in_force)} is sshd's default"
        if source and not origin.get("ours"):
            overridden_by = f"{source} {origin['value']}"
            loser = next((o["source"] for o in origin["overridden"] if o["ours"]), None)
            why = why or (f"{source} comes before {loser}, and sshd keeps the first value" if loser else None)
            remedy = f"remove the line, or let {sshd['drop_in_dir']}/00-session-policy.conf come before it"
    bound = None
    if keyword == "clientaliveinterval":
        count = read_value("clientalivecountmax", sshd["effective"].get("clientalivecountmax"))
        bound = alive_bound(in_force or 0, count if count is not None else 3, sshd["version_number"])
    return Finding(
        "sshd", clock, setting, value, in_force, compliant, source, overridden_by, why, remedy,
        rule_ids(wanted, setting), bound=bound,
    )  # fmt: skip


def _judge_exempt(wanted: Mapping[str, Any], sshd: Mapping[str, Any], user: str) -> Iterator[Finding]:
    """An exempt account must really be out of reach of the clocks that a Match block can lift."""
    values = sshd["effective_by_user"][user]
    for clock, setting, keyword in _SSHD:
        if setting not in ("client_alive_interval", "unused_connection_timeout") or wanted.get(setting) is None:
            continue
        if keyword not in values:
            continue
        in_force = read_value(keyword, values[keyword])
        yield Finding(
            "sshd", clock, setting, None, in_force or None, not in_force, user=user,
            why=f"{user} is exempt, but sshd has {in_force} s in force for this account" if in_force else None,
            rules=rule_ids(wanted, setting),
        )  # fmt: skip
    # ChannelTimeout's global value acts on everybody, whatever a Match block shows.
    channel = read_value("channeltimeout", sshd["effective"].get("channeltimeout"))
    if channel and wanted.get("channel_idle_timeout") is not None:
        yield Finding(
            "sshd", CHANNEL, "channel_idle_timeout", None, channel, False, user=user,
            why=f"{user} is exempt, but ChannelTimeout acts on everybody: a Match block cannot lift it",
            remedy="leave channel_idle_timeout unset while somebody is exempt",
            rules=rule_ids(wanted, "channel_idle_timeout"),
        )  # fmt: skip


def _judge_user(
    wanted: Mapping[str, Any], sshd: Mapping[str, Any], user: str, asked: Sequence[tuple[str, str, str]]
) -> Iterator[Finding]:
    """What a Match block can change, for an account that was asked about and is not exempt."""
    values = sshd["effective_by_user"][user]
    for clock, setting, keyword in asked:
        # sshd heeds ChannelTimeout's global value alone; the others are the same for everybody, or not there.
        if keyword not in values or keyword in ("channeltimeout", "tcpkeepalive", "logingracetime", "maxstartups"):
            continue
        if keyword == "unusedconnectiontimeout" and not sshd["supports"]["channel_timeout"]:
            continue
        in_force = read_value(keyword, values[keyword])
        compliant = _same(in_force, wanted[setting])
        match = next((m for m in sshd["matches"] if _gives(m, keyword, values[keyword])), None)
        origin = match or sshd["sources"].get(keyword) or {}
        lifted = match if match and not compliant else None
        yield Finding(
            "sshd", clock, setting, wanted[setting], in_force, compliant, origin.get("source"),
            f"{lifted['source']} {lifted['value']}" if lifted else None,
            f"it holds for 'Match {lifted['criteria']}' instead of the policy's" if lifted else None,
            "remove the line, or name the account as exempt" if lifted else None,
            rule_ids(wanted, setting), user=user,
        )  # fmt: skip


def _gives(match: Mapping[str, Any], keyword: str, value: str) -> bool:
    return bool(match["keyword"] == keyword and canonical(keyword, match["value"].split()) == value)


def _lifted(
    wanted: Mapping[str, Any], sshd: Mapping[str, Any], asked: Sequence[tuple[str, str, str]]
) -> Iterator[Finding]:
    """Match blocks of somebody else's that give those they match another value than the policy's."""
    by_keyword = {keyword: (clock, setting) for clock, setting, keyword in asked if keyword != "channeltimeout"}
    for match in sshd["matches"]:
        if match["ours"] or match["keyword"] not in by_keyword:
            continue
        clock, setting = by_keyword[match["keyword"]]
        in_force = read_value(match["keyword"], canonical(match["keyword"], match["value"].split()))
        kind, _blank, names = match["criteria"].partition(" ")
        exempt = wanted.get(f"exempt_{kind.lower()}s") or []
        if _same(in_force, wanted[setting]) or set(names.strip('"').split(",")) <= set(exempt):
            continue
        yield Finding(
            "sshd", clock, setting, wanted[setting], in_force, False, match["source"],
            f"{match['source']} {match['value']}", f"it holds for 'Match {match['criteria']}' instead of the policy's",
            "remove the line, or name those accounts as exempt", rule_ids(wanted, setting),
        )  # fmt: skip


def _traps(wanted: Mapping[str, Any], sshd: Mapping[str, Any]) -> Iterator[Finding]:
    for found in sshd["matches"]:
        if found["keyword"] != "channeltimeout":
            continue
        if found["value"].lower() == "none":
            why = f"ChannelTimeout none in 'Match {found['criteria']}' locks those users out: their logins die"
        else:
            why = f"ChannelTimeout in 'Match {found['criteria']}' does nothing, though sshd -T -C shows it"
        yield Finding(
            "sshd", CHANNEL, "channel_idle_timeout", wanted.get("channel_idle_timeout"), found["value"], False,
            found["source"], f"{found['source']} {found['value']}", why, f"remove {found['source']}",
            rule_ids(wanted, "channel_idle_timeout"),
        )  # fmt: skip


def _not_current(sshd: Mapping[str, Any]) -> Finding:
    if sshd["current"] is None:
        why = f"whether the running sshd has read its configuration is not known: {sshd['current_why']}"
    else:
        why = f"sshd ({sshd['pid']}) has not read its configuration since it changed at {sshd['config_changed_at']}"
    reload = " ".join(sshd["reload"][0]) if sshd["reload"] else None
    return Finding(
        "sshd", RUNNING, "reload", sshd["config_changed_at"], sshd["loaded_at"], sshd["current"], sshd["config"],
        why=why, remedy=f"run: {reload}" if reload else None,
    )  # fmt: skip


def read_value(keyword: str, text: str | None) -> Any:
    """What `sshd -T` prints, in the policy's terms: seconds and counts as int, yes/no as bool, None for off."""
    if text is None:
        return None
    if keyword == "tcpkeepalive":
        return text == "yes"
    if keyword == "maxstartups":
        return text
    if keyword == "channeltimeout":
        return session_channel_timeout(text)
    return int(text) if text.isdecimal() else None


def session_channel_timeout(text: str) -> int | None:
    """Seconds that a ChannelTimeout list sets for every session channel.

    They are labelled session:shell, session:command and so on: a bare ``session`` matches none of them.
    """
    for word in text.split():
        pattern, _sign, value = word.partition("=")
        if pattern in ("session:*", "session*", "*"):
            return sshd_seconds(value) or None
    return None


def _shown(value: Any) -> str:
    return {True: "yes", False: "no", None: "off"}[value] if value is None or isinstance(value, bool) else str(value)


# --- shell ------------------------------------------------------------------------------------------------------


def judge_shell(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Finding]:
    value = wanted.get("idle_timeout")
    if value is None:
        return []
    shell = facts["shell"]
    rules = rule_ids(wanted, "idle_timeout")
    found = []
    rows = [(kind, "", seen) for kind, seen in shell["login"].items() if kind != "dash"]
    rows += [(kind, " (not login)", seen) for kind, seen in shell["non_login"].items()]
    for kind, way, seen in rows:
        found.append(_judge_one_shell(value, kind, way, seen, shell["setters"], rules))
    for kind in ("dash", "csh", "fish"):
        people = shell["login_shells_of"].get(kind)
        if people:
            why = f"{kind} has no idle timeout, and it is the login shell of {', '.join(people[:5])}"
            remedy = "give them another shell, or let the reaper end idle sessions"
            found.append(
                Finding(
                    "shell", SHELL, "idle_timeout", value, None, None, why=why, remedy=remedy, rules=rules, shell=kind
                )
            )
    exempt = _exempt(wanted, facts, shell["login_by_user"])
    for user in (name for name in shell["login_by_user"] if name not in exempt):
        seen = shell["login_by_user"][user]
        one = _judge_one_shell(value, "bash", "", seen, shell["setters"], rules)
        found.append(replace(one, user=user))
    for user in exempt:
        seen = shell["login_by_user"][user]
        if not seen["error"]:
            in_force = seen["tmout"] or None
            reason = f"{user} is exempt, but a login bash of this account has TMOUT={in_force}"
            found.append(
                Finding(
                    "shell", SHELL, "idle_timeout", None, in_force, not in_force, why=reason if in_force else None,
                    rules=rules, user=user, shell="bash",
                )
            )  # fmt: skip
    return found


def _judge_one_shell(
    value: int, kind: str, way: str, seen: Mapping[str, Any], setters: Sequence[Mapping[str, Any]], rules: list[str]
) -> Finding:
    name = "autologout" if kind == "tcsh" else "TMOUT"
    expected = max(value // 60, 1) * 60 if kind == "tcsh" else value  # autologout counts whole minutes
    in_force = seen["tmout"]
    related = [s for s in setters if ("autologout" in s["text"]) == (kind == "tcsh")]
    setting = [s for s in related if s["value"] is not None and _number(s["value"], kind) == in_force]
    # Where no plain number explains it, whoever assigns an expression does.
    setting = setting or [
        s for s in related if s["value"] is not None and in_force and _number(s["value"], kind) is None
    ]
    origin: Mapping[str, Any] = next((s for s in setting if s["ours"]), setting[0] if setting else {})
    compliant: bool | None = _same(in_force, expected)
    why = remedy = overridden_by = None
    if seen["error"] and in_force is None:
        compliant, why = None, f"a {kind} could not be asked: {seen['error']}"
    elif compliant:
        if seen["readonly"] is False:
            why = "it is not read-only: a user can unset it"
    elif in_force is None or (in_force == 0 and not origin):
        # ksh and mksh show 0 where nobody set it.
        why = f"no file that {kind} reads{way} sets {name}"
    elif origin and not origin["ours"]:
        overridden_by = f"{origin['source']} {origin['text']}"
        first = " and makes it read-only" if seen["readonly"] else ""
        why = f"{origin['source']} sets {name} to {in_force}{first}"
        remedy = f"remove {origin['source']}"
    elif not origin:
        why = f"{name} is {in_force}, from a place that is not known"
    return Finding(
        "shell", SHELL, "idle_timeout", value, in_force, compliant, origin.get("source"), overridden_by, why, remedy,
        rules, shell=kind + way,
    )  # fmt: skip


def _number(text: str, kind: str) -> int | None:
    words = text.split()
    if not words or not words[0].isdecimal() or len(words[0]) > 10:
        return None
    return int(words[0]) * (60 if kind == "tcsh" else 1)


# --- logind -----------------------------------------------------------------------------------------------------


def judge_logind(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Finding]:
    found = []
    logind = facts["logind"]
    if wanted.get("idle_timeout") is not None:
        found.append(_judge_idle_session(wanted, facts))
    if wanted.get("kill_user_processes") is not None:
        found.append(_judge_kill(wanted, logind))
    if wanted.get("max_logins") is not None:
        found.append(_judge_max_logins(wanted, facts))
    return found


def idle_threshold(effective: Mapping[str, Any]) -> float | None:
    """Seconds after which logind stops an idle session: the smaller of StopIdleSessionSec and IdleActionSec."""
    stop = effective.get("StopIdleSessionUSec")
    if stop is None:
        return None
    action = effective.get("IdleActionUSec")
    return stop if action is None else min(stop, action)


def _judge_idle_session(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> Finding:
    logind = facts["logind"]
    value = wanted["idle_timeout"]
    threshold = idle_threshold(logind["effective"])
    rules = rule_ids(wanted, "idle_timeout")
    disk = logind["on_disk"].get("StopIdleSessionUSec") or {}
    why: str | None
    remedy = "let the shell layer or the reaper end idle sessions"
    if not logind["running"]:
        why = "no systemd-logind runs on this host"
    elif not logind["can_stop_idle_session"]:
        why = f"systemd {facts['host']['systemd_version']} cannot end idle sessions: StopIdleSessionSec came with 252"
    elif logind["sees_ssh_ttys"] is False:
        why = "logind was built without utmp here and knows no terminal of an ssh session: it never sees one idle"
    elif threshold is None and (wanted.get("exempt_users") or wanted.get("exempt_groups")):
        why = "left off because somebody is exempt: logind can exempt nobody"
    else:
        return _judge_threshold(value, threshold, logind, disk, rules)
    return Finding(
        "logind", SESSION, "idle_timeout", value, threshold, None, disk.get("source"), None, why, remedy, rules
    )


def _judge_threshold(
    value: int, threshold: float | None, logind: Mapping[str, Any], disk: Mapping[str, Any], rules: list[str]
) -> Finding:
    action = logind["on_disk"].get("IdleActionUSec") or {}
    limited = threshold is not None and threshold != logind["effective"].get("StopIdleSessionUSec")
    origin = action if limited else disk
    compliant = _same(threshold, value)
    why = remedy = overridden_by = None
    if not compliant:
        if logind["current"] is False:
            why = "logind has not read its configuration since it changed"
            remedy = "run: " + " ".join(logind["reload"][0])
        elif threshold is None:
            why = "StopIdleSessionSec is not set"
        elif limited:
            why = (
                f"IdleActionSec ({_shown(threshold)} s) is smaller than StopIdleSessionSec, and the smaller one counts"
            )
        if origin and not origin["ours"]:
            overridden_by = f"{origin['source']} {_shown(origin['value'])}"
            remedy = remedy or f"remove {origin['source']}, or let a later drop-in set it"
    return Finding(
        "logind", SESSION, "idle_timeout", value, threshold, compliant, origin.get("source"), overridden_by, why,
        remedy, rules,
    )  # fmt: skip


def _judge_kill(wanted: Mapping[str, Any], logind: Mapping[str, Any]) -> Finding:
    value = wanted["kill_user_processes"]
    in_force = logind["effective"].get("KillUserProcesses")
    disk = logind["on_disk"].get("KillUserProcesses") or {}
    why = remedy = overridden_by = None
    compliant: bool | None = in_force == value
    if not logind["running"]:
        compliant, why = None, "no systemd-logind runs on this host"
    elif not compliant:
        if logind["current"] is False:
            why = "logind has not read its configuration since it changed"
            remedy = "run: " + " ".join(logind["reload"][0])
        elif disk and not disk["ours"]:
            overridden_by = f"{disk['source']} {_shown(disk['value'])}"
            remedy = f"remove {disk['source']}, or let a later drop-in set it"
        else:
            why = "nothing sets it: this is logind's default"
    return Finding(
        "logind", LIMIT, "kill_user_processes", value, in_force, compliant, disk.get("source"), overridden_by, why,
        remedy, rule_ids(wanted, "kill_user_processes"),
    )  # fmt: skip


def _judge_max_logins(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> Finding:
    value = wanted["max_logins"]
    limits = facts["limits"]
    found = limits["maxlogins"]
    in_force = found["value"]
    # Debian's pam_limits without utmp asks logind, which has the new session by then, and adds one for it.
    if in_force and facts["host"]["family"] == "debian" and facts["logind"]["running"] and not facts["host"]["utmp"]:
        in_force -= 1
    compliant: bool | None = in_force == value
    why = remedy = overridden_by = None
    if limits["active"] is False:
        compliant, why = False, "sshd's PAM stack has no pam_limits: nothing applies the limit"
        remedy = "add 'session required pam_limits.so' to /etc/pam.d/sshd"
    elif not compliant and found["source"] is None:
        why = "nothing sets it: logins are not limited"
    elif not compliant and not found["ours"]:
        overridden_by = f"{found['source']} {_shown(found['value'])}"
        remedy = f"remove {found['source']}"
    elif compliant and limits["active"] is None:
        why = "whether sshd's PAM stack has pam_limits is not known"
    return Finding(
        "logind", LIMIT, "max_logins", value, in_force, compliant, found["source"], overridden_by, why, remedy,
        rule_ids(wanted, "max_logins"),
    )  # fmt: skip


# --- multiplexer ------------------------------------------------------------------------------------------------


def judge_multiplexer(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Finding]:
    found: list[Finding] = []
    seen = facts["multiplexer"]
    if wanted.get("lock_timeout") is not None:
        found += _judge_lock(wanted, facts)
    if wanted.get("tmux_login_shell") is False:
        places = seen["shells"]["tmux"]
        found.append(
            Finding(
                "multiplexer", LOCK, "tmux_login_shell", False, bool(places), not places,
                places[0] if places else None,
                why="tmux is among the login shells: who has it as theirs gets by what the shells set"
                if places else None,
                remedy=f"remove {', '.join(places)}" if places else None,
                rules=rule_ids(wanted, "tmux_login_shell"),
            )
        )  # fmt: skip
    if wanted.get("linger_users"):
        found.append(_judge_linger(wanted, facts))
    return found


def _judge_lock(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Finding]:
    value = wanted["lock_timeout"]
    rules = rule_ids(wanted, "lock_timeout")
    seen = facts["multiplexer"]
    tmux, screen = seen["tmux"], seen["screen"]
    if not tmux["program"] and not screen["program"]:
        yield Finding(
            "multiplexer", LOCK, "lock_timeout", value, None, None,
            why="neither tmux nor screen is installed here, so there is nothing that could lock", rules=rules,
        )  # fmt: skip
    if tmux["program"]:
        yield _judge_tmux(value, tmux, rules)
        for user in _exempt(wanted, facts, tmux["by_user"]):
            in_force = tmux["by_user"][user]["lock_after_time"] or None
            if tmux["by_user"][user]["error"] is None:
                yield Finding(
                    "multiplexer", LOCK, "lock_timeout", None, in_force, not in_force, user=user, shell="tmux",
                    why=f"{user} is exempt, but tmux locks for this account" if in_force else None, rules=rules,
                )  # fmt: skip
    if screen["program"]:
        compliant = _same(screen["idle"], value)
        foreign = screen["text"] is not None and not screen["ours"] and not compliant
        yield Finding(
            "multiplexer", LOCK, "lock_timeout", value, screen["idle"], compliant, screen["source"],
            f"{screen['source']} {screen['text']}" if foreign else None,
            None if compliant or foreign else f"{screen['config']} does not say 'idle {value} lockscreen'",
            f"remove {screen['source']}" if foreign else None, rules, shell="screen",
        )  # fmt: skip


def _judge_tmux(value: int, tmux: Mapping[str, Any], rules: list[str]) -> Finding:
    in_force = tmux["lock_after_time"] or None
    origin = tmux["sources"].get("lock-after-time") or {}
    compliant: bool | None = _same(in_force, value)
    why = remedy = overridden_by = None
    if tmux["error"]:
        compliant, why = None, f"tmux could not be asked: {tmux['error']}"
    elif not compliant and origin and not origin["ours"]:
        overridden_by = f"{origin['source']} {origin['value']}"
        remedy = f"remove {origin['source']}"
    elif not compliant:
        why = tmux["complaint"] and f"tmux says of {tmux['config']}: {tmux['complaint']}"
        why = why or f"{tmux['config']} does not set lock-after-time"
    elif value and not tmux["lock_command_exists"]:
        # tmux takes a command that ends at once, for whatever reason, as the right password.
        compliant, why = False, f"lock-command is '{tmux['lock_command']}', which is not there: nothing is locked"
        remedy = "install it, or set lock-command to a program that is there"
    elif value and tmux["config_mode"] and not int(tmux["config_mode"], 8) & 0o004:
        compliant, why = False, f"{tmux['config']} has mode {tmux['config_mode']}: the users' tmux can't read it"
        remedy = f"chmod 0644 {tmux['config']}"
    return Finding(
        "multiplexer", LOCK, "lock_timeout", value, in_force, compliant, origin.get("source"), overridden_by, why,
        remedy, rules, shell="tmux",
    )  # fmt: skip


def _judge_linger(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> Finding:
    users = sorted(wanted["linger_users"])
    lingering = sorted(set(users) & set(facts["multiplexer"]["linger"]))
    compliant: bool | None = users == lingering
    why = None
    if not facts["logind"]["running"]:
        compliant, why = None, "no systemd-logind runs on this host: nobody needs to linger"
    elif not compliant:
        why = f"{', '.join(sorted(set(users) - set(lingering)))} does not linger"
    return Finding(
        "multiplexer", LIMIT, "linger_users", ", ".join(users), ", ".join(lingering) or None, compliant, why=why,
        remedy="run: loginctl enable-linger USER" if compliant is False else None,
        rules=rule_ids(wanted, "linger_users"),
    )  # fmt: skip


# --- client -----------------------------------------------------------------------------------------------------


def judge_client(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Finding]:
    client = facts["client"]
    rows = (("server_alive_interval", "serveraliveinterval"), ("server_alive_count_max", "serveralivecountmax"))
    return [
        _judge_client_keyword(wanted, client, setting, keyword)
        for setting, keyword in rows
        if wanted.get(setting) is not None
    ]


def _judge_client_keyword(wanted: Mapping[str, Any], client: Mapping[str, Any], setting: str, keyword: str) -> Finding:
    value = wanted[setting]
    in_force = read_value(keyword, client["effective"].get(keyword))
    origin = client["sources"].get(keyword) or {}
    compliant: bool | None = in_force == value
    why = remedy = overridden_by = None
    if not client["installed"]:
        compliant, why = None, "there is no OpenSSH client on this host"
    elif client["error"]:
        compliant, why, remedy = False, f"ssh -G says: {client['error']}", f"repair {client['config']}"
    elif not compliant and origin and not origin["ours"]:
        overridden_by = f"{origin['source']} {origin['value']}"
        loser = next((o["source"] for o in origin["overridden"] if o["ours"]), None)
        why = f"{origin['source']} comes before {loser}, and ssh keeps the first value" if loser else None
        remedy = f"remove the line, or let {client['drop_in_dir']}/00-session-policy.conf come before it"
    elif not compliant:
        why = f"nothing sets it: {_shown(in_force)} is ssh's default"
    return Finding(
        "client", KEEPALIVE, setting, value, in_force, compliant, origin.get("source"), overridden_by, why, remedy,
        rule_ids(wanted, setting),
    )  # fmt: skip


# --- reaper -----------------------------------------------------------------------------------------------------

# Periods without a run after which it counts as stopped; a run itself may take up to two minutes.
_LATE, _LONGEST_RUN = 3, 120


def judge_reaper(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Finding]:
    reaper = facts["reaper"]
    trouble = _reaper_trouble(wanted, reaper, facts["host"]["init"])
    found = []
    for clock, setting in ((SESSION, "idle_timeout"), (AGE, "max_session_age")):
        value = wanted.get(setting)
        if value is not None:
            in_force = None if trouble else parse_duration(reaper["policy"].get(setting) or 0) or None
            compliant: bool | None = not trouble and _same(in_force, value)
            why, remedy = trouble or (None, None)
            if not trouble and reaper["policy"].get("mode") == "report":
                compliant, why = None, "the reaper only reports: nobody is ended"
                remedy = "set session_reaper_mode to enforce"
            elif not trouble and not compliant:
                why = f"the last run, at {reaper['last_run']}, went by {_shown(in_force)}"
            source = None if trouble else "session-reaper"
            rules = rule_ids(wanted, setting)
            found.append(
                Finding("reaper", clock, setting, value, in_force, compliant, source, None, why, remedy, rules)
            )
    return found


def _reaper_trouble(wanted: Mapping[str, Any], reaper: Mapping[str, Any], init: str) -> tuple[str, str] | None:
    """Why the reaper cannot be counted on, and what to do."""
    again = "run the role session_reaper again"
    if not reaper["engine"]:
        return "no reaper is installed", again
    if wanted.get("reaper_engine") not in (None, reaper["engine"]):
        return "the reaper that is installed is not this collection's", again
    if not reaper["active"]:
        if init == "systemd":
            return "session-reaper.timer is not active", "run: systemctl enable --now session-reaper.timer"
        return "nothing runs the reaper: there is no cron, or no job for it", again
    if reaper["last_run_age"] is None:
        return "the reaper has not run since the boot", "look why: journalctl -t session-reaper"
    period = parse_duration(reaper["policy"].get("period") or 60)
    if reaper["last_run_age"] > _LATE * period + _LONGEST_RUN:
        return f"the reaper's last run was at {reaper['last_run']}", "look why: journalctl -t session-reaper"
    return None


_JUDGES = (
    ("sshd", judge_sshd),
    ("shell", judge_shell),
    ("logind", judge_logind),
    ("multiplexer", judge_multiplexer),
    ("client", judge_client),
    ("reaper", judge_reaper),
)
