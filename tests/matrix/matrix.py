# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try the collection with each ansible-core that it supports: `matrix.py [VERSION...]`, by default all of them.

A version is tried with its newest patch release: the unit tests, a syntax check of all playbooks, and test_contracts.py
against real hosts with the three managed Pythons. Python 3.11 runs the controllers up to 2.19; 2.20 and `newest`, which
want a newer Python, are installed on a test host and play from there against the same hosts.

What ran and passed goes into results.json, the table in README.md (`make readme`); a version that fails leaves its
line as it was and is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import typing as t
import xml.etree.ElementTree as ET

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / "molecule/hosts"), str(CHECKOUT / "tests/tools")]
os.environ["MOLECULE_SCENARIO_NAME"] = "matrix"  # the group of the hosts

from known_files import pack_known_files  # noqa: E402
from realhosts import Machine, booted, inventory_of, testhost  # noqa: E402

BUILD = CHECKOUT / "build/matrix"
RESULTS = pathlib.Path(__file__).with_name("results.json")
PYTHON = "3.11"
NEWEST = "newest"
VERSIONS = ("2.16", "2.17", "2.18", "2.19", "2.20", NEWEST)
ON_A_TEST_HOST = ("2.20", NEWEST)
IMAGES = ("bullseye", "bookworm", "trixie")
# Unit tests go where there is room; what shares a host stays in one worker.
PYTEST = ("-q", "-n", "3", "--dist", "loadgroup", "tests/matrix", "tests/unit",
          # It tries ansible-builder, which brings an ansible-core of its own.
          "--ignore=tests/unit/extensions/test_execution_environment.py")  # fmt: skip
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def interpreter() -> str:
    if sys.version.startswith(PYTHON + "."):
        return sys.executable
    found = shutil.which(f"python{PYTHON}")
    if not found:
        sys.exit(
            f"the matrix runs ansible-core on Python {PYTHON}, which is not on PATH: please install python{PYTHON}"
        )
    return found


def sh(argv: t.Sequence[object], **kw: t.Any) -> None:
    """Raises subprocess.CalledProcessError. What the command prints is for whoever ran this."""
    subprocess.run(
        [str(word) for word in argv], check=True, **({} if "input" in kw else {"stdin": subprocess.DEVNULL}), **kw
    )


def requirements(version: str) -> list[str]:
    core = "ansible-core" if version == NEWEST else f"ansible-core~={version}.0"
    return ["--quiet", "--disable-pip-version-check", "--upgrade", core, "--requirement", "requirements-test.txt"]


def try_here(version: str, hosts: list[Machine], junit: pathlib.Path) -> None:
    """With a virtual environment of this checkout."""
    venv, inventory = BUILD / version, BUILD / "hosts.json"
    inventory.write_text(inventory_of(hosts))
    if not (venv / "bin/pip").exists():
        sh([interpreter(), "-m", "venv", venv])
    sh([venv / "bin/pip", "install", *requirements(version)], cwd=CHECKOUT)
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT / "playbooks/collections"), "MATRIX_INVENTORY": str(inventory)}
    env["PATH"] = f"{venv / 'bin'}:{env['PATH']}"
    sh([venv / "bin/pytest", *PYTEST, f"--junit-xml={junit}"], cwd=CHECKOUT, env=env)


PREPARE = """
set -e
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null
python3 -m venv /srv/venv
"""


def try_there(version: str, hosts: list[Machine], junit: pathlib.Path) -> None:
    """On a test host of its own, which reaches the others at the same addresses as this machine does."""
    with booted("controller", "trixie") as controller:
        packed = pack_known_files("build/test-data")
        ssh = controller.ssh_argv()
        sh([*ssh, "mkdir /srv/policy && tar -xC /srv/policy"], input=packed)
        if os.path.exists(CERTIFICATES):
            # pip reaches its index with what this machine trusts.
            sh([*ssh, f"cat > {CERTIFICATES}"], input=pathlib.Path(CERTIFICATES).read_bytes())
        key = hosts[0].variables["ansible_ssh_private_key_file"]
        sh([*ssh, "umask 077 && cat > /root/key"], input=pathlib.Path(key).read_bytes())
        there = inventory_of(hosts, {"ansible_ssh_private_key_file": "/root/key"})
        sh([*ssh, "cat > /root/hosts.json"], input=there.encode())
        sh([*ssh, PREPARE])
        sh(
            [
                *ssh,
                f"cd /srv/policy && PIP_CERT={CERTIFICATES} /srv/venv/bin/pip install {shlex.join(requirements(version))}",
            ]
        )
        ports = [host.variables["ansible_port"] for host in hosts]
        forwards = [word for port in ports for word in ("-R", f"127.0.0.1:{port}:127.0.0.1:{port}")]
        command = (
            "cd /srv/policy && LC_ALL=C.UTF-8 PATH=/srv/venv/bin:$PATH PYTHONPATH=$PWD/playbooks/collections "
            f"MATRIX_INVENTORY=/root/hosts.json pytest {shlex.join(PYTEST)} --junit-xml=/root/junit.xml"
        )
        try:
            sh([*controller.ssh_argv("root", "-o", "ExitOnForwardFailure=yes", *forwards), command])
        finally:
            junit.write_text(controller.ssh("cat /root/junit.xml", check=False))


def read(junit: pathlib.Path) -> dict[str, t.Any]:
    """A line of results.json out of a pytest run that passed.

    Raises:
        ValueError: the run did not see each of the hosts.
    """
    units, syntax = 0, 0
    contracts: dict[str, int] = {}
    seen: dict[str, dict] = {}
    for case in ET.parse(junit).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        name, _bracket, parameters = case.attrib["name"].partition("[")
        if not case.attrib["classname"].startswith("tests.matrix."):
            units += 1
        elif name == "test_syntax_of_playbooks":
            syntax += 1
        else:
            host = parameters.rstrip("]").partition("-")[0]
            contracts[host] = contracts.get(host, 0) + 1
        facts = {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}
        if "managed" in facts:
            seen[facts["image"]] = {**facts, "host": host}
    if set(seen) != set(IMAGES) or not units:
        raise ValueError(f"only {sorted(seen)} were tried, and {units} unit tests")
    return {
        "ansible_core": seen[IMAGES[0]]["ansible_core"],
        "python": seen[IMAGES[0]]["controller"],
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "unit_tests": units,
        "playbooks": syntax,
        "managed": {
            image: {
                "python": seen[image]["managed"],
                "listed": seen[image]["listed"] == "True",
                "contracts": contracts[seen[image]["host"]],
            }
            for image in IMAGES
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", choices=[*VERSIONS, []], metavar="VERSION", help=", ".join(VERSIONS))
    asked = parser.parse_args().versions or VERSIONS
    BUILD.mkdir(parents=True, exist_ok=True)
    failed = []
    testhost("down")  # what a run that was killed left behind
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(booted(image, image)) for image in IMAGES]
        for version in asked:
            junit = BUILD / f"{version}.xml"
            junit.unlink(missing_ok=True)
            print(f"ansible-core {version}", flush=True)
            try:
                (try_there if version in ON_A_TEST_HOST else try_here)(version, hosts, junit)
                line = read(junit)
            except (subprocess.CalledProcessError, ValueError) as exc:
                print(f"ansible-core {version}: {exc}", file=sys.stderr, flush=True)
                failed.append(version)
                continue
            # Read each time: a line of a version that is tried no more goes.
            old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            new = {one: line if one == version else old.get(one) for one in VERSIONS}
            RESULTS.write_text(json.dumps({one: found for one, found in new.items() if found}, indent=2) + "\n")
    print(f"{len(asked) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
