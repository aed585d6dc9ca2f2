# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a profile and the operator's wishes to one resolved policy, with everything that is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Callable, Collection, Mapping, Sequence

from .duration import format_duration, parse_duration
from .model import WORK
from .order import read_within

# The layers that this version has.
LAYERS = ("sshd", "shell", "logind", "multiplexer", "client", "reaper")
STATES = ("present", "absent")

# What an operator writes to leave a setting of the profile to the host.
LEAVE = "none"

# Seconds in which a change of sshd must be confirmed.
CONFIRM_WITHIN = 60

# The kernel moves a terminal's access time in steps of 8 s, so a shorter idle limit would mean nothing.
SHORTEST_IDLE = 30

# A name that is safe in an sshd Match line and in a shell's case pattern; blanks are quoted there.
_NAME = re.compile(r"\w(?:[\w.@+$ -]*[\w$])?")


@dataclass(frozen=True)
class Policy:
    """`values` are what the layers set: seconds, counts and texts; ``None`` leaves the host's own value alone.

    `sshd_main_file` and `logind_main_file` tell whether the distribution's scanners read no drop-ins, `scanned`
    whether the profile is one that scanners look for.
    """

    values: dict[str, Any]
    layers: list[str]
    state: str
    exempt_users: list[str]
    exempt_groups: list[str]
    confirm_within: int
    protect: list[str]
    rules: dict[str, dict[str, list[str]]]
    sshd_main_file: bool
    logind_main_file: bool
    scanned: bool
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _seconds(value: object) -> int | None:
    return parse_duration(value)


def _seconds_or_off(value: object) -> int | None:
    """0 switches these clocks off, which is the same as not setting them."""
    return parse_duration(value) or None


def _count(value: object) -> int:
    text = str(value).strip()
    if isinstance(value, (bool, float)) or not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise ValueError(f"{value!r} is not a count: write a whole number that is not negative")
    return int(text)


def _count_from_one(value: object) -> int:
    count = _count(value)
    if not count:
        raise ValueError("0 would let nobody in: write 1 or more")
    return count


def _max_startups(value: object) -> str:
    """``N`` or ``START:RATE:FULL``, sshd_config(5)."""
    text = str(value).strip()
    found = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}):([0-9]{1,6}))?", text, re.ASCII)
    if isinstance(value, (bool, float)) or not found:
        raise ValueError(f'{value!r} is not what sshd takes: write a number or START:RATE:FULL, like "10:30:60"')
    if isinstance(value, int) and value >= 3600:
        raise ValueError(f'{value} is probably START:RATE:FULL that YAML read as base 60: quote it, like "10:30:59"')
    start, rate, full = (int(part) if part else None for part in found.groups())
    if start == 0 or full == 0:
        raise ValueError("0 would let nobody in: write 1 or more")
    if rate is not None and full is not None and start is not None:
        if not 1 <= rate <= 100:
            raise ValueError(f"{text}: the rate in the middle is a percentage from 1 to 100")
        if start > full:
            raise ValueError(f"{text}: the first number (START) must not be larger than the last (FULL)")
    return text


def _switch(value: object) -> bool:
    if not isinstance(value, bool) and str(value).lower() not in ("yes", "no", "true", "false"):
        raise ValueError(f"{value!r} is neither true nor false")
    return str(value).lower() in ("yes", "true")


def _account_names(value: object) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(n, str) and _NAME.fullmatch(n) for n in value):
        raise ValueError(f"{value!r} is not a list of accounts: write [alice, bob]")
    return list(dict.fromkeys(value))


_READERS: Mapping[str, Callable[[object], Any]] = {
    "idle_timeout": _seconds_or_off,
    "client_alive_interval": _seconds,
    "client_alive_count_max": _count,
    "channel_idle_timeout": _seconds_or_off,
    "unused_connection_timeout": _seconds_or_off,
    "login_grace_time": _seconds,
    "max_sessions": _count_from_one,
    "max_startups": _max_startups,
    "max_logins": _count_from_one,
    "max_session_age": _seconds_or_off,
    "lock_timeout": _seconds_or_off,
    "tmux_login_shell": _switch,
    "linger_users": _account_names,
    "server_alive_interval": _seconds,
    "server_alive_count_max": _count_from_one,
}
SETTINGS = tuple(_READERS)
# What belongs to the playbooks.
_OF_PLAYBOOKS = ("hosts", "serial", "audit_users", "output", "waivers")
# Everything an operator may set.
VARIABLES = (
    "profile",
    "layers",
    "state",
    *SETTINGS,
    "exempt_users",
    "exempt_groups",
    "confirm_within",
    "protect",
    "cleanup",
    *_OF_PLAYBOOKS,
)
# What protects a session from being ended where the operator says nothing.
PROTECT = tuple(name for name in WORK if name != "locks")
# Which layers act on a setting.
_ENFORCED_BY: Mapping[str, tuple[str, ...]] = {
    "idle_timeout": ("shell", "logind", "reaper"),
    "max_session_age": ("reaper",),
    "max_logins": ("logind",),
    "lock_timeout": ("multiplexer",),
    "tmux_login_shell": ("multiplexer",),
    "linger_users": ("multiplexer",),
    "server_alive_interval": ("client",),
    "server_alive_count_max": ("client",),
}


def by_distribution(choice: object, host: Mapping[str, Any]) -> Any:
    """The part of `choice` that fits `host` best.

    Args:
        choice: a plain value, which holds everywhere, or a mapping with the keys ``ID-VERSION`` (``rhel-9``),
            ``ID`` (``ubuntu``), ``family-NAME`` and ``default``; ID as in os-release(5), where the distributions
            that a host is like (ID_LIKE) count too.
        host: the ``host`` part of the facts; may be empty.
    """
    if not isinstance(choice, Mapping):
        return choice
    version = str(host.get("version_id") or "")
    names = [host.get("id"), *(host.get("id_like") or [])]
    keys = [f"{name}-{v}" for name in names for v in (version, version.split(".", maxsplit=1)[0])]
    keys += [*names, f"family-{host.get('family')}", "default"]
    return next((choice[key] for key in keys if key in choice), None)


def _answers(value: object, asked: object) -> bool:
    """Whether `value` is what a rule asks for, or stricter: of a clock or a count, less, but not off."""
    return value == asked or (isinstance(value, int) and isinstance(asked, int) and 0 < value <= asked)


def _list(name: str, value: object, example: str, errors: list[str]) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        errors.append(
            f"session_policy_{name}: {value!r} is not a list of names: write [{example}], "
            f'on the command line -e \'{{"session_policy_{name}": ["{example.split(", ")[0]}"]}}\''
        )
        return []
    return list(dict.fromkeys(value))


def _names(
    name: str, value: object, known: Mapping[str, Any] | None, errors: list[str], warnings: list[str]
) -> list[str]:
    names = _list(name, value, "backup, deploy", errors)
    kind = name.split("_")[1][:-1]
    for entry in names:
        if not _NAME.fullmatch(entry):
            errors.append(
                f"session_policy_{name}: {entry!r} is not the name of one {kind}: patterns, commas, quotes and "
                "backslashes are not taken"
            )
        elif known and not known.get(entry, {"existing": True})["existing"]:
            warnings.append(f"session_policy_{name}: there is no {kind} {entry!r} on this host.")
    return names


def resolve(profiles: Mapping[str, Any], chosen: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Policy:
    """One policy out of a profile and what the operator set.

    Args:
        profiles: profile name → its data (``layers``, ``scanned``, ``settings``).
        chosen: the operator's variables by their name without ``session_policy_``; ``None`` means the profile's.
        facts: what policy_info returned; without it nothing that depends on the host is judged.
    """
    facts = facts or {}
    host = facts.get("host") or {}
    sshd = facts.get("sshd") or {}
    errors: list[str] = []
    warnings: list[str] = []

    for name in chosen:
        if name not in VARIABLES:
            errors.append(
                f"session_policy_{name} is no variable of this version, which has: "
                + ", ".join(sorted(VARIABLES))
                + " (each with session_policy_ in front)"
            )

    state = str(chosen.get("state") or "present")
    if state not in STATES:
        errors.append(f"session_policy_state: {state!r} is neither present nor absent")

    profile_name = str(chosen.get("profile") or "cis")
    if profile_name not in profiles:
        errors.append(f"session_policy_profile: there is no profile {profile_name!r}: choose {_or(sorted(profiles))}")
    profile = profiles.get(profile_name) or {}

    layers = _list("layers", chosen.get("layers"), "sshd, shell", errors)
    if chosen.get("layers") is None:
        # What an earlier run put there under other layers must go too.
        layers = list(LAYERS) if state == "absent" else list(profile.get("layers") or [])
    for layer in layers:
        if layer not in LAYERS:
            errors.append(
                f"session_policy_layers: this version has no layer {layer!r}: choose from {', '.join(LAYERS)}"
            )

    confirm_within = CONFIRM_WITHIN
    if chosen.get("confirm_within") not in (None, ""):
        try:
            confirm_within = read_within(parse_duration(chosen["confirm_within"]))
        except ValueError as exc:
            errors.append(f"session_policy_confirm_within: {exc}")

    exempt_users = _names("exempt_users", chosen.get("exempt_users"), facts.get("users"), errors, warnings)
    exempt_groups = _names("exempt_groups", chosen.get("exempt_groups"), facts.get("groups"), errors, warnings)

    protect = list(PROTECT)
    if chosen.get("protect") not in (None, ""):
        protect = _list("protect", chosen["protect"], "editors, transfers", errors)
        errors += [
            f"session_policy_protect: there is no work {name!r}: choose from {', '.join(WORK)}"
            for name in protect
            if name not in WORK
        ]

    values: dict[str, Any] = {}
    rules: dict[str, dict[str, list[str]]] = {}
    for name, read in _READERS.items():
        entry = (profile.get("settings") or {}).get(name) or {}
        # A template that gives null is an empty text before ansible-core 2.19.
        wish = set_by_operator = None if chosen.get(name) == "" else chosen.get(name)
        if wish is None:
            wish = by_distribution(entry.get("value"), host)
        values[name] = None
        if wish is None or wish == LEAVE:
            continue
        try:
            values[name] = read(wish)
        except ValueError as exc:
            errors.append(f"session_policy_{name}: {exc}")
            continue
        ids = by_distribution(entry.get("rules"), host)
        if (ids or entry.get("also")) and _answers(values[name], by_distribution(entry.get("value"), host)):
            rules[name] = {**({profile_name: list(ids)} if ids else {}), **(entry.get("also") or {})}
        enforced_by = _ENFORCED_BY.get(name, ("sshd",))
        if state == "present" and set_by_operator is not None and not set(enforced_by) & set(layers):
            warnings.append(f"session_policy_{name} is set, but {_or(enforced_by)} is not among session_policy_layers.")

    if "sshd" in layers and sshd.get("config_ok") is False:
        errors.append(
            "sshd refuses its configuration as it is, so nothing was touched. Repair it first: "
            + str(sshd.get("config_error"))
        )
    errors += _contradictions(values, sshd)
    if state == "present":
        errors += _lock_that_never_comes(values, layers)
    if "reaper" in layers and values["idle_timeout"] and values["idle_timeout"] < SHORTEST_IDLE:
        errors.append(
            f"session_policy_idle_timeout: {format_duration(values['idle_timeout'])} is shorter than terminals can be "
            f"measured: with the layer reaper write {SHORTEST_IDLE}s or more"
        )
    warnings += _doubts(values, sshd)
    if "multiplexer" in layers and state == "present":
        warnings += _about_locks(values, facts.get("multiplexer") or {}, [*exempt_users, *exempt_groups])
    setters = (facts.get("shell") or {}).get("setters") or []
    foreign = [setter["source"] for setter in setters if not setter["ours"]]
    if "shell" in layers and values["idle_timeout"] and foreign:
        warnings.append(
            f"Somebody else sets a timeout in {', '.join(foreign)}, which is left alone: where it is read-only and "
            "comes first it wins, where it comes later its shell prints an error at login. Remove it."
        )
    if values["channel_idle_timeout"] and (exempt_users or exempt_groups):
        values["channel_idle_timeout"] = None
        rules.pop("channel_idle_timeout", None)
        warnings.append(
            "ChannelTimeout is left off because somebody is exempt: sshd heeds only its global value, "
            "so it would cut the exempt too."
        )
    scanned = bool(profile.get("scanned"))
    main_file_only = bool(sshd.get("scanner_main_file"))
    return Policy(
        values=values,
        layers=[layer for layer in LAYERS if layer in layers],
        state=state,
        exempt_users=exempt_users,
        exempt_groups=exempt_groups,
        confirm_within=confirm_within,
        protect=protect,
        rules=rules,
        sshd_main_file=scanned and main_file_only,
        logind_main_file=scanned and (main_file_only or host.get("family") == "debian"),
        scanned=scanned,
        errors=errors,
        warnings=warnings,
    )


def _contradictions(values: Mapping[str, Any], sshd: Mapping[str, Any]) -> list[str]:
    disables = (sshd.get("supports") or {}).get("count_max_zero_disables")
    if values["client_alive_count_max"] == 0 and values["client_alive_interval"] and disables:
        return [
            "session_policy_client_alive_count_max: 0 with an interval contradicts itself: since OpenSSH 8.2 it "
            f"switches the ending of unresponsive peers off (here: {sshd.get('version')}): write 1 or more"
        ]
    return []


def _lock_that_never_comes(values: Mapping[str, Any], layers: Collection[str]) -> list[str]:
    """A shell in a pane ends at its own timeout, and a session that logind ends takes the multiplexer with it."""
    lock, idle = values["lock_timeout"], values["idle_timeout"]
    if "multiplexer" not in layers or not lock or not idle or lock < idle:
        return []
    ends = [layer for layer in ("shell", "logind") if layer in layers]
    if not ends:
        return []
    return [
        f"session_policy_lock_timeout: a lock after {format_duration(lock)} would never come, because "
        f"session_policy_idle_timeout ends what is idle after {format_duration(idle)} (layer {_or(ends)}): make the "
        "lock come sooner, or the end later"
    ]


def _about_locks(values: Mapping[str, Any], seen: Mapping[str, Any], exempt: Sequence[str]) -> list[str]:
    said = []
    people = seen.get("no_password") or []
    if values["lock_timeout"] and people:
        said.append(
            f"{', '.join(people[:5])}{' and others' if people[5:] else ''} cannot unlock a locked tmux or screen: the "
            "account has no password. A new login can attach to the session again."
        )
    if values["lock_timeout"] and exempt and (seen.get("screen") or {}).get("program"):
        said.append(f"screen can exempt nobody: it locks for {', '.join(exempt)}, too.")
    return said


def _doubts(values: Mapping[str, Any], sshd: Mapping[str, Any]) -> list[str]:
    found = []
    disables = (sshd.get("supports") or {}).get("count_max_zero_disables")
    if values["client_alive_count_max"] == 0 and values["client_alive_interval"] and disables is False:
        found.append(
            f"ClientAliveCountMax 0: OpenSSH {sshd.get('version')} ends a session at the first probe that is missed, "
            "newer releases never would."
        )
    if values["idle_timeout"] and values["idle_timeout"] < SHORTEST_IDLE:
        found.append(
            f"session_policy_idle_timeout: {format_duration(values['idle_timeout'])} is shorter than terminals can be "
            f"measured; below {SHORTEST_IDLE}s logind ends sessions early or late."
        )
    if values["login_grace_time"] == 0:
        found.append("session_policy_login_grace_time: 0 lets a connection that never logs in stay for ever.")
    return found


def _or(words: Any) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else str(last)
