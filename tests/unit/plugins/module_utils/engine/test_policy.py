# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.sessionops.policy.plugins.module_utils._engine.policy import (
    LAYERS,
    SETTINGS,
    VARIABLES,
    by_distribution,
    resolve,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROLE = pathlib.Path(__file__).parents[5] / "roles" / "session_policy"
PROFILES = {
    path.stem: yaml.safe_load(path.read_text())["session_policy__profile"]
    for path in (ROLE / "vars" / "profiles").glob("*.yml")
}

DEBIAN_12 = {"id": "debian", "id_like": [], "version_id": "12", "family": "debian"}
ROCKY_9 = {"id": "rocky", "id_like": ["rhel", "centos", "fedora"], "version_id": "9.4", "family": "rhel"}
UBUNTU_24 = {"id": "ubuntu", "id_like": ["debian"], "version_id": "24.04", "family": "debian"}


def sshd(version="9.2p1", disables=True, main_file=False):
    return {
        "version": version,
        "supports": {"count_max_zero_disables": disables},
        "scanner_main_file": main_file,
    }


def values(profile, host):
    resolved = resolve(PROFILES, {"profile": profile}, {"host": host})
    assert resolved.errors == []
    return {name: value for name, value in resolved.values.items() if value is not None}


def test_the_profiles_are_these_five():
    assert set(PROFILES) == {"cis", "stig", "pci_dss", "anssi", "none"}


@pytest.mark.parametrize(
    ("host", "count_max"),
    [(DEBIAN_12, 3), (UBUNTU_24, 3), (ROCKY_9, 1), ({"id": "arch", "family": "arch"}, 3), ({}, 3)],
)
def test_cis_differs_by_distribution(host, count_max):
    assert values("cis", host) == {
        "idle_timeout": 900,
        "client_alive_interval": 300,
        "client_alive_count_max": count_max,
        "login_grace_time": 60,
        "max_sessions": 10,
        "max_startups": "10:30:60",
    }


@pytest.mark.parametrize(
    ("profile", "wanted", "layers"),
    [
        (
            "stig",
            {
                "idle_timeout": 600,
                "client_alive_interval": 600,
                "client_alive_count_max": 1,
                "max_logins": 10,
                "lock_timeout": 540,
                "tmux_login_shell": False,
            },
            ["sshd", "shell", "logind", "multiplexer"],
        ),
        (
            "pci_dss",
            {"idle_timeout": 900, "client_alive_interval": 900, "client_alive_count_max": 1},
            ["sshd", "shell"],
        ),
        ("anssi", {"idle_timeout": 600}, ["sshd", "shell", "logind"]),
        ("none", {}, ["sshd", "shell"]),
    ],
)
def test_the_other_profiles(profile, wanted, layers):
    assert values(profile, DEBIAN_12) == wanted
    assert resolve(PROFILES, {"profile": profile}).layers == layers


@pytest.mark.parametrize(
    ("profile", "host", "setting", "ids"),
    [
        ("cis", DEBIAN_12, "idle_timeout", ["5.4.3.2"]),
        ("cis", {**DEBIAN_12, "version_id": "13"}, "max_startups", ["5.1.19"]),
        ("cis", ROCKY_9, "max_startups", ["5.1.17"]),
        ("stig", UBUNTU_24, "client_alive_interval", ["UBTU-24-600010"]),
        ("stig", {**UBUNTU_24, "version_id": "22.04"}, "max_logins", ["UBTU-22-412020"]),
        ("stig", ROCKY_9, "idle_timeout", ["RHEL-09-412035", "RHEL-09-412080"]),
        ("stig", {"id": "sles", "version_id": "15.5"}, "client_alive_count_max", ["SLES-15-010320"]),
        ("pci_dss", DEBIAN_12, "idle_timeout", ["8.2.8"]),
    ],
)
def test_values_carry_their_rules(profile, host, setting, ids):
    assert resolve(PROFILES, {"profile": profile}, {"host": host}).rules[setting][profile] == ids


def test_rules_that_hold_on_every_distribution_come_along():
    debian = resolve(PROFILES, {"profile": "stig"}, {"host": DEBIAN_12}).rules
    assert debian["client_alive_interval"] == {"srg": ["SRG-OS-000163-GPOS-00072"], "nist": ["AC-12", "SC-10"]}
    assert debian["max_logins"] == {"nist": ["AC-10"]}
    assert resolve(PROFILES, {}, {"host": ROCKY_9}).rules["idle_timeout"]["pci_dss"] == ["8.2.8"]


@pytest.mark.parametrize(("idle", "claimed"), [("15m", True), (300, True), (901, False), ("2h", False)])
def test_a_laxer_value_than_the_profiles_does_not_claim_its_rules(idle, claimed):
    assert ("idle_timeout" in resolve(PROFILES, {"idle_timeout": idle}, {"host": DEBIAN_12}).rules) is claimed


def test_a_value_that_is_not_set_has_no_rules():
    resolved = resolve(PROFILES, {"idle_timeout": "none"}, {"host": DEBIAN_12})
    assert resolved.values["idle_timeout"] is None
    assert "idle_timeout" not in resolved.rules


def test_the_operator_wins_over_the_profile():
    resolved = resolve(PROFILES, {"idle_timeout": "1h30m", "client_alive_count_max": 2, "max_startups": 5})
    assert (resolved.values["idle_timeout"], resolved.values["client_alive_count_max"]) == (5400, 2)
    assert resolved.values["max_startups"] == "5"


@pytest.mark.parametrize("unset", [None, ""])
def test_what_is_not_set_is_the_profile_s(unset):
    assert resolve(PROFILES, {"idle_timeout": unset}).values["idle_timeout"] == 900


@pytest.mark.parametrize("off", ["idle_timeout", "channel_idle_timeout", "unused_connection_timeout"])
def test_0_sets_no_such_clock(off):
    assert resolve(PROFILES, {off: 0}).values[off] is None


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"idle_timeout": "5x"}, "session_policy_idle_timeout: '5x' is not a duration"),
        ({"client_alive_interval": -1}, "session_policy_client_alive_interval: -1 is not a duration"),
        ({"channel_idle_timeout": 1.5}, "session_policy_channel_idle_timeout: 1.5 is not a duration"),
        ({"unused_connection_timeout": "1 h"}, "session_policy_unused_connection_timeout: '1 h' is not"),
        ({"login_grace_time": True}, "session_policy_login_grace_time: True is not a duration"),
        ({"client_alive_count_max": -1}, "session_policy_client_alive_count_max: -1 is not a count"),
        ({"max_sessions": "many"}, "session_policy_max_sessions: 'many' is not a count"),
        ({"max_sessions": 0}, "session_policy_max_sessions: 0 would let nobody in"),
        ({"max_logins": 0}, "session_policy_max_logins: 0 would let nobody in"),
        ({"max_startups": "10:30"}, "'10:30' is not what sshd takes"),
        ({"max_startups": "60:30:10"}, "must not be larger"),
        ({"max_startups": "10:0:60"}, "percentage from 1 to 100"),
        ({"max_startups": 37859}, "YAML read as base 60"),
        ({"profile": "cjs"}, "no profile 'cjs': choose anssi, cis, none, pci_dss or stig"),
        ({"state": "gone"}, "neither present nor absent"),
        ({"layers": ["sshd", "sweeper"]}, "no layer 'sweeper'"),
        ({"layers": ["reaper"], "idle_timeout": 20}, "with the layer reaper write 30s or more"),
        ({"layers": "sshd"}, "session_policy_layers: 'sshd' is not a list"),
        ({"exempt_users": "bob"}, "session_policy_exempt_users: 'bob' is not a list"),
        ({"exempt_users": [["bob"]]}, "is not a list of names"),
        ({"exempt_users": ["a*"]}, "'a*' is not the name of one user"),
        ({"exempt_groups": ["a\nMatch all"]}, "is not the name of one group"),
        ({"exempt_groups": ["ops "]}, "'ops ' is not the name of one group"),
        ({"idle_timout": 5}, "session_policy_idle_timout is no variable"),
        ({"max_session_length": "1d"}, "session_policy_max_session_length is no variable"),
    ],
)
def test_bad_input_gets_a_sentence(chosen, said):
    assert [error for error in resolve(PROFILES, chosen).errors if said in error]


def test_all_errors_come_at_once():
    bad = {"idle_timeout": "x", "login_grace_time": "y", "profile": "z", "layers": "sshd", "max_sessions": 0}
    assert len(resolve(PROFILES, bad).errors) == len(bad)


def test_count_max_0_is_a_contradiction_since_8_2():
    chosen = {"client_alive_count_max": 0}
    assert "contradicts itself" in resolve(PROFILES, chosen, {"sshd": sshd()}).errors[0]
    older = resolve(PROFILES, chosen, {"sshd": sshd("8.0p1", disables=False)})
    assert older.errors == []
    assert "first probe" in older.warnings[0]
    assert resolve(PROFILES, {**chosen, "client_alive_interval": 0}, {"sshd": sshd()}).errors == []


def test_channel_timeout_is_left_off_where_somebody_is_exempt():
    chosen = {"channel_idle_timeout": "10m", "exempt_groups": ["ops"]}
    resolved = resolve(PROFILES, chosen)
    assert resolved.values["channel_idle_timeout"] is None
    assert "ChannelTimeout is left off" in resolved.warnings[0]


def test_somebody_elses_timeout_is_a_warning_where_the_shells_get_ours():
    setters = [{"source": "/etc/profile.d/z.sh:1", "ours": False}, {"source": "/etc/profile.d/0.sh:9", "ours": True}]
    facts = {"shell": {"setters": setters}}
    (warning,) = resolve(PROFILES, {}, facts).warnings
    assert "sets a timeout in /etc/profile.d/z.sh:1, which is left alone" in warning
    assert resolve(PROFILES, {"layers": ["sshd"]}, facts).warnings == []
    assert resolve(PROFILES, {"idle_timeout": 0}, facts).warnings == []


def test_who_does_not_exist_is_a_warning():
    facts = {"users": {"bob": {"existing": True}, "eve": {"existing": False}}, "groups": {"ops": {"existing": False}}}
    resolved = resolve(PROFILES, {"exempt_users": ["bob", "eve"], "exempt_groups": ["ops"]}, facts)
    assert resolved.errors == []
    assert [w.split(": ")[1] for w in resolved.warnings] == [
        "there is no user 'eve' on this host.",
        "there is no group 'ops' on this host.",
    ]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"idle_timeout": 10}, "shorter than terminals can be measured"),
        ({"login_grace_time": 0}, "stay for ever"),
        ({"max_logins": 3}, "logind is not among session_policy_layers"),
        ({"idle_timeout": "5m", "layers": ["sshd"]}, "shell, logind or reaper is not among"),
    ],
)
def test_doubts_are_warnings(chosen, said):
    resolved = resolve(PROFILES, chosen)
    assert resolved.errors == []
    assert [w for w in resolved.warnings if said in w]


def test_absent_means_every_layer_unless_some_are_named():
    assert resolve(PROFILES, {"state": "absent"}).layers == list(LAYERS)
    assert resolve(PROFILES, {"state": "absent", "layers": ["logind"]}).layers == ["logind"]


def test_the_main_file_is_for_scanners_that_read_only_that():
    facts = {"host": DEBIAN_12, "sshd": sshd(main_file=True)}
    assert resolve(PROFILES, {}, facts).sshd_main_file
    assert not resolve(PROFILES, {"profile": "none"}, facts).sshd_main_file
    assert not resolve(PROFILES, {}, {"host": UBUNTU_24, "sshd": sshd()}).sshd_main_file
    assert resolve(PROFILES, {}, {"host": UBUNTU_24, "sshd": sshd()}).logind_main_file


def test_the_nearest_distribution_wins():
    choice = {"default": 0, "family-rhel": 1, "rhel": 2, "rhel-9": 3, "rocky-9.4": 4}
    assert by_distribution(choice, ROCKY_9) == 4
    assert by_distribution(choice, {**ROCKY_9, "version_id": "9.5"}) == 3
    assert by_distribution(choice, {**ROCKY_9, "version_id": "10"}) == 2
    assert by_distribution(choice, {"id": "fedora", "family": "rhel", "version_id": "42"}) == 1
    assert by_distribution(choice, DEBIAN_12) == 0
    assert by_distribution(7, DEBIAN_12) == 7


def test_the_specification_names_the_same_variables():
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    names = {f"session_policy_{name}" for name in VARIABLES} - {"session_policy_hosts", "session_policy_serial"}
    assert set(spec) == names
    # Those two may not be null, as the role's defaults say.
    assert set(defaults) == names - {"session_policy_layers", "session_policy_protect"}
    assert set(spec["session_policy_layers"]["choices"]) == set(LAYERS)
    assert set(spec["session_policy_profile"]["choices"]) == set(PROFILES)


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.text(max_size=8), max_size=3)
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text of a process builds hypothesis's tables
@given(st.dictionaries(st.sampled_from(VARIABLES), anything))
def test_nothing_an_operator_writes_is_more_than_an_error(chosen):
    resolved = resolve(PROFILES, chosen)
    assert set(resolved.values) == set(SETTINGS)
    assert set(resolved.layers) <= set(LAYERS)
    for name in ("exempt_users", "exempt_groups"):
        wrong = [n for n in getattr(resolved, name) if set(n) & set("\"'\\,*?!#\n\r\t")]
        assert not wrong or resolved.errors


@given(st.sampled_from(sorted(PROFILES)), st.sampled_from(SETTINGS), st.integers(30, 10**6))
def test_a_good_value_arrives_as_it_is(profile, setting, value):
    if setting == "max_startups":
        value %= 3600
        value += 1
    wish = {"tmux_login_shell": bool(value % 2), "linger_users": [f"u{value}"]}.get(setting, value)
    # The lock of a profile must come before an end that is wished for.
    resolved = resolve(PROFILES, {"profile": profile, "lock_timeout": 1, "idle_timeout": 2**30, setting: wish})
    assert resolved.errors == []
    assert str(resolved.values[setting]) == str(wish)


def test_an_sshd_that_refuses_its_configuration_is_refused_where_sshd_is_to_be_set():
    broken = {"sshd": {**sshd(), "config_ok": False, "config_error": "line 3: Bad configuration option: Perhaps"}}
    (error,) = resolve(PROFILES, {"layers": ["sshd", "shell"]}, broken).errors
    assert "nothing was touched" in error and "line 3: Bad configuration option" in error
    assert resolve(PROFILES, {"layers": ["shell"]}, broken).errors == []


@pytest.mark.parametrize(
    ("chosen", "ends"),
    [
        ({}, None),
        ({"lock_timeout": "10m"}, "layer shell or logind"),
        ({"lock_timeout": "15m", "layers": ["shell", "multiplexer"]}, "layer shell"),
        ({"idle_timeout": "9m", "layers": ["logind", "multiplexer"]}, "layer logind"),
        ({"lock_timeout": "15m", "layers": ["sshd", "multiplexer"]}, None),
        ({"lock_timeout": "15m", "layers": ["shell"]}, None),
        ({"lock_timeout": "15m", "idle_timeout": 0}, None),
        ({"lock_timeout": "15m", "state": "absent"}, None),
        ({"lock_timeout": 0}, None),
    ],
)
def test_a_lock_that_could_never_come_is_refused(chosen, ends):
    errors = resolve(PROFILES, {"profile": "stig", **chosen}).errors
    assert len(errors) == (ends is not None)
    assert ends is None or (ends in errors[0] and "would never come" in errors[0])


def test_who_can_never_unlock_and_what_screen_cannot_do_is_said():
    facts = {"multiplexer": {"no_password": ["a", "b", "c", "d", "e", "f"], "screen": {"program": "/usr/bin/screen"}}}
    said = resolve(PROFILES, {"profile": "stig", "exempt_users": ["backup"]}, facts).warnings
    assert any(w.startswith("a, b, c, d, e and others cannot unlock") for w in said)
    assert any("it locks for backup, too" in w for w in said)
    assert resolve(PROFILES, {"profile": "cis", "exempt_users": ["backup"]}, facts).warnings == []
