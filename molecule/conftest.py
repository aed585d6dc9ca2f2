# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of all scenarios: hosts of a test file's own, so that files run side by side and change what they like."""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

import pytest
from realhosts import RELEASES, Machine, Person, booted
from xdist.scheduler import LoadScopeScheduling


class ByHost(LoadScopeScheduling):
    """Under pytest-xdist, what shares a host runs in one worker, one after another."""

    def _split_scope(self, nodeid: str) -> str:
        file, _colons, test = nodeid.partition("::")
        release = re.search(r"\bdeb\d\d\b", test)
        return file + (release.group() if release else "")


def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> ByHost:
    return ByHost(config, log)


def name_of(request: pytest.FixtureRequest, release: str) -> str:
    return f"{request.path.stem.replace('test_', '').replace('_', '-')}-{release}"


@pytest.fixture(scope="module", params=sorted(RELEASES))
def machine(request: pytest.FixtureRequest) -> t.Iterator[Machine]:
    """A host of this test file's own, one a release."""
    with booted(name_of(request, request.param), RELEASES[request.param]) as host:
        yield host


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> t.Iterator[list[Machine]]:
    """A host of each release, for what one run of a playbook does to all of them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(booted(name_of(request, r), RELEASES[r])) for r in sorted(RELEASES)]


@pytest.fixture(scope="module")
def hosts(fleet: list[Machine]) -> dict[str, Machine]:
    """The fleet by image."""
    return {machine.image: machine for machine in fleet}


@pytest.fixture
def virgin(fleet: list[Machine]) -> t.Iterator[list[Machine]]:
    """The hosts as they were before the test, afterwards too."""
    for machine in fleet:
        machine.exec("rm -rf /root/etc && cp -a /etc /root/etc")
    yield fleet
    for machine in fleet:
        # podman mounts hosts, hostname and resolv.conf over files of /etc, which therefore stay.
        machine.exec("rm -rf /etc/ssh /etc/profile.d /etc/systemd /etc/security /etc/bash.bashrc")
        machine.exec("cd /root/etc && cp -a ssh profile.d systemd security bash.bashrc /etc/ && systemctl reload ssh")


@pytest.fixture(scope="module")
def seat() -> t.Iterator[t.Callable[..., Person]]:
    """Seat people who stay until the file's last test; each is waited for at the prompt."""
    seated: list[Person] = []

    def one(*args: t.Any, **kw: t.Any) -> Person:
        seated.append(Person(*args, **kw))
        return seated[-1].at_prompt()

    yield one
    for person in seated:
        person.leaves()


@pytest.fixture(scope="module")
def login() -> t.Iterator[t.Callable[..., Person]]:
    """Seat people at terminals who stay until the file's last test; at_prompt() waits for the prompt."""
    with contextlib.ExitStack() as stack:
        yield lambda machine, user: stack.enter_context(Person(machine, user))


@pytest.fixture
def boot(request: pytest.FixtureRequest) -> t.Iterator[t.Callable[[str], Machine]]:
    """Boot a further host: boot("bookworm"), boot("bookworm-sysvinit")."""
    with contextlib.ExitStack() as stack:
        serial = f"{os.getpid()}-{time.monotonic_ns() % 10**8}"

        def one(image: str) -> Machine:
            return stack.enter_context(booted(f"extra-{serial}-{len(stack._exit_callbacks)}", image))

        yield one


@pytest.fixture
def person() -> t.Iterator[t.Callable[..., Person]]:
    """Seat people at terminals, wait for their prompt, and see them off at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kw: stack.enter_context(Person(*args, **kw)).at_prompt()
