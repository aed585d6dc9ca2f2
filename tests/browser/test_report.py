# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser: what people do with it, what it keeps harmless, and who can read it."""

from __future__ import annotations

import copy
import json
import pathlib

import pytest
from ansible_collections.sessionops.policy.plugins.plugin_utils._report import report_data, report_files
from fleet import HOSTILE, fleet

SESSIONS = "#session-table"


def write(folder: pathlib.Path, hosts: int, sessions: int, before: dict | None = None) -> pathlib.Path:
    document, looks = fleet(hosts, sessions)
    path = folder / "report.html"
    path.write_text(report_files(document, looks, before)["report.html"], encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """60 hosts with 4 sessions each, some of them other than in the last report."""
    before = report_data(*fleet(60, 4))
    before = copy.deepcopy(before)
    before["generated_at"] = "2026-05-31T12:00:00Z"
    before["hosts"][3]["status"], before["hosts"][9]["name"] = "compliant", "old009"
    before["sessions"][5]["id"] = "another"
    before["leftovers"].clear()
    return write(tmp_path_factory.mktemp("small"), 60, 4, before)


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    return write(tmp_path_factory.mktemp("large"), 500, 20)


def column(browser, name, table=SESSIONS):
    """The texts of a column of what is shown."""
    return browser.run(
        """const cells = [...document.querySelectorAll(`${args[0]} tbody [data-label="${args[1]}"]`)];
        return cells.map((cell) => cell.textContent);""",
        table,
        name,
    )


def shown(browser, table=SESSIONS):
    return browser.run("return document.querySelector(`${args[0]} [role=status]`).textContent;", table)


def sort_by(browser, name, table=SESSIONS):
    browser.run(
        """const heads = [...document.querySelectorAll(`${args[0]} thead button`)];
        heads.find((head) => head.textContent === args[1]).click();""",
        table,
        name,
    )


def find(browser, text, place=f"{SESSIONS} input"):
    browser.run(
        """const field = document.querySelector(args[0]);
        field.value = args[1];
        field.dispatchEvent(new Event("input", {bubbles: true}));""",
        place,
        text,
    )


def seconds(text):
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    total, number = 0, ""
    for char in text:
        if char in units:
            total, number = total + int(number) * units[char], ""
        else:
            number += char
    return total


def test_it_opens_by_itself_without_an_error(browser, small, pictures):
    browser.open(small)
    assert browser.errors() == []
    assert browser.run("return performance.getEntriesByType('resource').length;") == 0
    assert shown(browser) == "232 of 232 sessions"
    browser.picture(pictures / "wide-light.png")


def test_sorting_goes_both_ways_and_leaves_what_is_not_known_last(browser, small):
    browser.open(small)
    sort_by(browser, "Idle")
    idle = column(browser, "Idle")
    falling = [seconds(text) for text in idle if text != "?"]
    assert len(falling) > 50 and falling == sorted(falling, reverse=True)
    assert "?" not in idle[: len(falling)]
    state = "return document.querySelector(`${args[0]} th[aria-sort]:not([aria-sort=none])`).getAttribute('aria-sort');"
    assert browser.run(state, SESSIONS) == "descending"
    sort_by(browser, "Idle")
    rising = [seconds(text) for text in column(browser, "Idle") if text != "?"]
    assert rising == sorted(rising)
    assert browser.run(state, SESSIONS) == "ascending"
    sort_by(browser, "Host")
    hosts = column(browser, "Host")
    assert hosts == sorted(hosts)


def test_filters_work_together_and_say_how_many_are_left(browser, small):
    browser.open(small)
    find(browser, "web003 vim")
    hosts = column(browser, "Host")
    assert hosts and set(hosts) == {"web003"}
    assert shown(browser) == f"{len(hosts)} of 232 sessions"
    find(browser, "")
    choose = """const selects = [...document.querySelectorAll(`${args[0]} select`)];
        const select = selects.find((one) => [...one.options].some((option) => option.value === args[1]));
        select.value = args[1];
        select.dispatchEvent(new Event("input", {bubbles: true}));"""
    browser.run(choose, SESSIONS, "sftp")
    browser.run(choose, SESSIONS, "with work in them")
    assert set(column(browser, "Kind")) == {"sftp"}
    assert all(column(browser, "Work"))
    find(browser, "no such thing")
    assert shown(browser) == "0 of 232 sessions"


def test_pages_turn(browser, small):
    browser.open(small)
    first = column(browser, "Terminal")
    assert len(first) == 100
    for rows in (100, 32):
        browser.run("document.querySelector(`${args[0]} .pager button:last-child`).click();", SESSIONS)
        assert len(column(browser, "Terminal")) == rows
    assert browser.run("return document.querySelector(`${args[0]} .pager button:last-child`).disabled;", SESSIONS)


def test_hosts_are_found_by_name_and_by_compliance(browser, small):
    browser.open(small)
    visible = "return [...document.querySelectorAll('#hosts tbody tr:not([hidden])')].map((row) => row.dataset.status);"
    assert len(browser.run(visible)) == 60
    find(browser, "unreachable", "#host-status")
    assert set(browser.run(visible)) == {"unreachable"}
    find(browser, "", "#host-status")
    find(browser, "jump", "#find-hosts")
    assert len(browser.run(visible)) == 20


def test_what_came_from_a_host_is_only_text(browser, small):
    browser.open(small)
    find(browser, HOSTILE)
    assert column(browser, "User") == [HOSTILE]
    (command,) = column(browser, "In front")
    assert "\\x1b]0;owned\\x07" in command and "\\u202e" in command
    assert browser.run("return document.title;").startswith("Login sessions")
    assert browser.run("return document.querySelectorAll('img, iframe, object, script').length;") == 2
    assert browser.errors() == []


def test_a_script_that_got_in_would_not_run(browser, small, tmp_path):
    """The page's own policy is the second wall."""
    broken = tmp_path / "broken.html"
    broken.write_text(
        small.read_text().replace("<main>", f"<main>{HOSTILE}<img src=x onerror=\"document.title='owned'\">")
    )
    browser.open(broken)
    assert browser.run("return document.title;").startswith("Login sessions")
    assert any("Content Security Policy" in error for error in browser.errors())


def test_what_changed_since_the_last_report(browser, small):
    browser.open(small)
    texts = browser.run(
        "return [...document.querySelectorAll('[aria-labelledby=changes] summary')].map((line) => line.textContent);"
    )
    assert texts == [
        "Hosts whose compliance changed: 1", "Hosts that are new: 1", "Hosts that are gone: 1",
        "Sessions that began: 1", "Sessions that ended: 1", "New leftovers: 1",
    ]  # fmt: skip


def colours(browser):
    """Luminance of the page's background and of its text, 0 to 255."""
    return browser.run(
        """const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color].map((text) => {
          const [r, g, b] = text.match(/\\d+/g).map(Number);
          return (r + g + b) / 3;
        });"""
    )


def test_dark_and_light(browser, small, pictures):
    browser.open(small)
    back, text = colours(browser)
    assert back > 200 and text < 60
    browser.scheme("dark")
    back, text = colours(browser)
    assert back < 60 and text > 200
    browser.picture(pictures / "wide-dark.png")


@pytest.mark.parametrize("width", [360, 768, 1024, 1280, 1440])
def test_nothing_is_wider_than_the_screen(browser, small, pictures, width):
    browser.screen(width, 900)
    browser.open(small)
    assert browser.run("return document.documentElement.scrollWidth;") <= width
    if width == 360:
        for name, selector in (
            ("top", "h1"),
            ("matrix", "#matrix"),
            ("findings", "#findings"),
            ("sessions", "#sessions"),
        ):
            browser.run("document.querySelector(args[0]).scrollIntoView();", selector)
            browser.picture(pictures / f"narrow-{name}.png")
        # Each value stands beside the name of its column.
        assert (
            browser.run(
                "return getComputedStyle(document.querySelector(`${args[0]} tbody td`), '::before').content;", SESSIONS
            )
            == '"User"'
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious(browser, small, axe, width, scheme):
    browser.screen(width, 900)
    browser.scheme(scheme)
    browser.open(small)
    # Before the page's policy there is no other way to bring a script in than the driver's own.
    browser.driver.execute_script(axe + ";window.axe = axe;")
    found = browser.run("return await axe.run(document);")
    assert len(found["passes"]) > 20
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(
        [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in serious], indent=1
    )


def test_the_keyboard_reaches_what_a_mouse_does(browser, small):
    browser.open(small)
    order = browser.run(
        """return [...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")]
          .filter((one) => one.tabIndex < 0 && !one.disabled).length;"""
    )
    assert order == 0
    assert browser.run(
        """const link = document.querySelector(".skip");
        link.focus();
        return link.getBoundingClientRect().left >= 0;"""
    )


def test_print_shows_every_row(browser, small, pictures):
    browser.open(small)
    (pictures / "print.pdf").write_bytes(browser.print())
    rows = browser.run(
        """let most = 0;
        new MutationObserver(() => { most = Math.max(most, document.querySelectorAll(`${args[0]} tbody tr`).length); })
          .observe(document.querySelector(`${args[0]} tbody`), {childList: true});
        dispatchEvent(new Event("beforeprint"));
        await new Promise((done) => setTimeout(done, 0));
        dispatchEvent(new Event("afterprint"));
        return [most, document.querySelectorAll(`${args[0]} tbody tr`).length];""",
        SESSIONS,
    )
    assert rows == [232, 100]


def test_ten_thousand_sessions_are_there_and_found(browser, large):
    """How fast is the benchmark's to say; here only that it is not hopeless on a busy machine."""
    browser.open(large)
    assert browser.errors() == []
    assert shown(browser) == "9800 of 9800 sessions"
    load, filtering = browser.run(
        """const entry = performance.getEntriesByType("navigation")[0];
        const field = document.querySelector(`${args[0]} input`);
        const began = performance.now();
        field.value = "web003";
        field.dispatchEvent(new Event("input", {bubbles: true}));
        return [entry.loadEventEnd, performance.now() - began];""",
        SESSIONS,
    )
    print(f"open {load:.0f} ms, filter {filtering:.0f} ms")
    assert load < 10000 and filtering < 1000
    assert set(column(browser, "Host")) == {"web003"}
