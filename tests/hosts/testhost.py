# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot real hosts (init, logind, sshd) as podman containers in seconds.

    testhost image bookworm trixie            build what is not cached
    testhost up deb12=bookworm deb13=trixie   start hosts, wait for their ssh
    testhost inventory [NAME...]              an Ansible inventory of them, as YAML
    testhost ssh deb12 [USER@] [COMMAND...]   a login over ssh, the product's real way in
    testhost exec deb12 COMMAND...            a command inside, not over ssh
    testhost down [NAME...]                   remove them (default: all of this checkout)

Hosts belong to the checkout that started them, and there to a group (--group,
one a molecule scenario): container names carry both, so that two never meet.
Needs root, podman and mmdebstrap. Images are cached in podman's storage under
a hash of their recipe.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fcntl
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
STATE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sessionops-testhosts"
RUN = pathlib.Path("/run/sessionops-testhosts")
PREFIX = "sops-" + hashlib.sha1(str(CHECKOUT).encode()).hexdigest()[:6]
KEY = STATE / "id_ed25519"
USERS = ("admin", "alice", "bob", "carol", "dave", "erin")

BASE = """
    apt-utils bsdextrautils ca-certificates cron csh curl dropbear-bin fish iproute2 iputils-ping kmod less lftp
    mksh mosh nano neovim nftables openssh-server openssh-client passwd procps psmisc
    putty-tools python3 redis-tools rsync screen sqlite3 sudo tcsh tmux vim vlock wget zsh
"""
SYSTEMD = "systemd systemd-sysv dbus libpam-systemd at"
SYSVINIT = "sysvinit-core sysv-rc initscripts busybox-syslogd"
KSH = {"bullseye": "ksh", "bookworm": "ksh93u+m", "trixie": "ksh93u+m"}


def sh(argv, check=True, **kw):
    return subprocess.run([str(a) for a in argv], check=check, text=True, **kw)


def die(sentence):
    sys.exit("testhost: " + sentence)


# --- the place where podman runs --------------------------------------------------------------------------------


def podman(*argv, **kw):
    return sh([*enter(), "podman", *argv], **kw)


def out(*argv):
    return podman(*argv, stdout=subprocess.PIPE).stdout.strip()


_ENTER = None


def enter():
    """Command prefix under which podman sees plain cgroup v2, and a storage that works.

    crun refuses a hybrid hierarchy. There, podman gets one pinned mount
    namespace whose /sys/fs/cgroup is cgroup v2; the machine's own mounts stay.
    """
    global _ENTER
    if _ENTER is None:
        _ENTER = [*_find_namespace(), *_find_storage()]
    return _ENTER


def _find_storage():
    """The kernel lays no overlay over another, as inside a container: there each host gets a copy of its image.

    fuse-overlayfs would do without the copy, but knows no immutable files and failed tests that remove a folder.
    podman 5.4 paid no heed to STORAGE_DRIVER, so it gets a file.
    """
    if filesystem("/var/lib") != "overlayfs":
        return []
    STATE.mkdir(parents=True, exist_ok=True)
    settings = STATE / "storage.conf"
    with tempfile.NamedTemporaryFile("w", dir=STATE, delete=False) as new:
        new.write(
            '[storage]\ndriver = "vfs"\n'
            'graphroot = "/var/lib/containers/storage"\nrunroot = "/run/containers/storage"\n'
        )
    os.replace(new.name, settings)  # Others read it meanwhile.
    return ["env", f"CONTAINERS_STORAGE_CONF={settings}"]


def filesystem(path):
    return sh(["stat", "-f", "-c", "%T", path], stdout=subprocess.PIPE).stdout.strip()


def _find_namespace():
    if filesystem("/sys/fs/cgroup") == "cgroup2fs":
        return []
    pin = RUN / "mnt"
    RUN.mkdir(exist_ok=True)
    with (RUN / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if sh(["mountpoint", "-q", RUN], check=False).returncode:
            sh(["mount", "--bind", RUN, RUN])
            sh(["mount", "--make-private", RUN])
        usable = ["nsenter", f"--mount={pin}", "--", "stat", "-f", "-c", "%T", "/sys/fs/cgroup"]
        found = sh(usable, check=False, capture_output=True).stdout.strip() if pin.exists() else ""
        if found != "cgroup2fs":
            pin.touch()
            sh(
                [
                    "unshare",
                    f"--mount={pin}",
                    "--propagation",
                    "slave",
                    "sh",
                    "-ec",
                    "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup",
                ]
            )
    return ["nsenter", f"--mount={pin}", "--"]


# --- images -----------------------------------------------------------------------------------------------------


def recipe(name):
    """Suite and package list of an image name: SUITE or SUITE-sysvinit."""
    suite, _dash, init = name.partition("-")
    if suite not in KSH or init not in ("", "sysvinit"):
        die(f"no image {name!r}: use bullseye, bookworm or trixie, or one of them with -sysvinit")
    return suite, sorted([*BASE.split(), KSH[suite], *(SYSVINIT if init else SYSTEMD).split()])


CUSTOMIZE = r"""
set -eu
for user in @USERS@; do
  chroot "$1" useradd --create-home --shell /bin/bash "$user"
done
echo 'admin ALL=(ALL) NOPASSWD: ALL' > "$1/etc/sudoers.d/admin"
chmod 0440 "$1/etc/sudoers.d/admin"
mkdir -p "$1/run/sshd"
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
rm -f "$1/etc/resolv.conf"
""".replace("@USERS@", " ".join(USERS))
# at and cron would start things of their own in a test; unattended timers cost time at boot.
SYSTEMD_CUSTOMIZE = r"""
chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  fstrim.timer man-db.timer systemd-networkd-wait-online.service >/dev/null 2>&1
"""
# Debian's inittab respawns gettys on consoles that a container has not.
SYSVINIT_CUSTOMIZE = r"""
sed -i -E '/getty/d' "$1/etc/inittab"
"""


def tag(name):
    suite, packages = recipe(name)
    text = "\n".join([suite, *packages, CUSTOMIZE, SYSTEMD_CUSTOMIZE, SYSVINIT_CUSTOMIZE])
    return f"localhost/sessionops-testhost-{name}:{hashlib.sha1(text.encode()).hexdigest()[:10]}"


def image(name):
    """Build the image unless it is cached; one builder at a time per image."""
    ref = tag(name)
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / f"build-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if podman("image", "exists", ref, check=False).returncode == 0:
            return ref
        for tool in ("mmdebstrap", "podman"):
            if not shutil.which(tool):
                die(f"{tool} is missing: apt-get install podman crun mmdebstrap")
        suite, packages = recipe(name)
        began = time.time()
        print(f"building {ref}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="testhost-") as tmp:
            tar, hook = pathlib.Path(tmp, "root.tar"), pathlib.Path(tmp, "customize")
            extra = SYSVINIT_CUSTOMIZE if name.endswith("-sysvinit") else SYSTEMD_CUSTOMIZE
            hook.write_text("#!/bin/sh\n" + CUSTOMIZE + extra)
            hook.chmod(0o755)
            sh(
                [
                    "mmdebstrap",
                    "--quiet",
                    "--variant=minbase",
                    "--include=" + ",".join(packages),
                    "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-exclude=/usr/share/man/*",
                    "--dpkgopt=path-exclude=/usr/share/locale/*",
                    f"--customize-hook={hook}",
                    suite,
                    tar,
                ]
            )
            podman("import", "--quiet", "--change", 'CMD ["/sbin/init"]', tar, ref, stdout=subprocess.DEVNULL)
        print(f"built {ref} in {time.time() - began:.0f} s", file=sys.stderr, flush=True)
    return ref


# --- hosts ------------------------------------------------------------------------------------------------------


def key():
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "key.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not KEY.exists():
            sh(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testhost", "-f", KEY])
    return KEY.with_suffix(".pub").read_text()


def ssh_argv(port, user="root", *options):
    return [
        "ssh",
        "-p",
        str(port),
        "-i",
        str(KEY),
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
        *options,
        f"{user}@127.0.0.1",
    ]


def hosts():
    """{name: {image, port}} of the running hosts of this checkout."""
    rows = json.loads(out("ps", "--filter", f"label=sessionops-testhost={PREFIX}", "--format", "json") or "[]")
    found = {}
    for row in rows:
        ports = [p["host_port"] for p in row.get("Ports") or [] if p["container_port"] == 22]
        found[row["Labels"]["testhost-name"]] = {"image": row["Labels"]["testhost-image"], "port": ports[0]}
    return found


AUTHORIZE = r"""
set -eu
key=$(cat)
for home in /root /home/*; do
  user=$(basename "$home")
  mkdir -p "$home/.ssh"
  printf '%s\n' "$key" > "$home/.ssh/authorized_keys"
  chown -R "$user:" "$home/.ssh"
  chmod 0700 "$home/.ssh"
done
"""


def up(spec):
    name, _sign, kind = spec.partition("=")
    kind = kind or name
    ref = image(kind)
    container = f"{PREFIX}-{name}"
    if name not in hosts():
        podman("rm", "-f", "-t", "0", "--ignore", container, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        systemd = "false" if kind.endswith("-sysvinit") else "always"
        podman(
            "run",
            "-d",
            "--name",
            container,
            "--hostname",
            name,
            "--privileged",
            "--pids-limit=0",  # none; -1 needs a controller that nested containers may lack
            f"--systemd={systemd}",
            "--ulimit",
            "nofile=20000:20000",
            "--ulimit",
            "nproc=10000:10000",
            "--label",
            f"sessionops-testhost={PREFIX}",
            "--label",
            f"testhost-name={name}",
            "--label",
            f"testhost-image={kind}",
            "-p",
            "127.0.0.1::22",
            ref,
            stdout=subprocess.DEVNULL,
        )
        podman("exec", "-i", container, "sh", "-c", AUTHORIZE, input=key())
    wait(name)
    return name


def make_room():
    """Let this kernel watch enough files: a systemd takes about ten inotify instances, and 128 is a common limit.

    With too few the next host's init dies at boot without a word.
    """
    limit = pathlib.Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) < 1024:
        try:
            limit.write_text("1024\n")
        except OSError:
            pass  # about ten hosts at once still work


def wait(name, limit=60):
    """Until ssh answers and init has settled (`degraded` is settled, too)."""
    port = hosts()[name]["port"]
    ready = "! test -d /run/systemd/system || systemctl is-active -q systemd-logind"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    end = time.time() + limit
    while time.time() < end:
        if sh([*ssh_argv(port, "root", "-o", "ConnectTimeout=2"), ready], check=False, **quiet).returncode == 0:
            return
        time.sleep(0.3)
    die(f"{name} did not answer over ssh within {limit} s; look with: podman logs {PREFIX}-{name}")


def inventory(names):
    running = hosts()
    missing = sorted(set(names) - set(running))
    if missing:
        die("not running: " + ", ".join(missing))
    entries = {
        name: {
            "ansible_host": "127.0.0.1",
            "ansible_port": spec["port"],
            "testhost_image": spec["image"],
            "testhost_container": f"{PREFIX}-{name}",
        }
        for name, spec in sorted(running.items())
        if not names or name in names
    }
    common = " ".join(shlex.quote(a) for a in ssh_argv(0)[5:-1])
    shared = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(KEY),
        "ansible_ssh_common_args": common,
        "ansible_python_interpreter": "/usr/bin/python3",
        "testhost_enter": " ".join(shlex.quote(a) for a in enter()),
    }
    # JSON is YAML, and needs no library.
    return json.dumps({"all": {"hosts": entries, "vars": shared}}, indent=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", default=os.environ.get("TESTHOST_GROUP", ""), help="default: $TESTHOST_GROUP")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("image").add_argument("names", nargs="+")
    verbs.add_parser("up").add_argument("specs", nargs="+", metavar="NAME=IMAGE")
    verbs.add_parser("down").add_argument("names", nargs="*")
    listing = verbs.add_parser("inventory")
    listing.add_argument("names", nargs="*")
    listing.add_argument("--output", type=pathlib.Path)
    for verb in ("ssh", "exec"):
        one = verbs.add_parser(verb)
        one.add_argument("name")
        one.add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("port").add_argument("name")
    args = parser.parse_args()
    if args.group:
        global PREFIX
        PREFIX += f"-{args.group}"
    if os.geteuid() != 0:
        die("must run as root, to mount and to start containers")

    if args.verb == "image":
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for ref in pool.map(image, args.names):
                print(ref)
    elif args.verb == "up":
        enter()
        make_room()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(image, {s.partition("=")[2] or s for s in args.specs}))
            list(pool.map(up, args.specs))
    elif args.verb == "down":
        for name in (
            args.names
            or out(
                "ps",
                "-a",
                "--filter",
                f"label=sessionops-testhost={PREFIX}",
                "--format",
                '{{index .Labels "testhost-name"}}',
            ).split()
        ):
            podman("rm", "-f", "-t", "0", "-v", "--ignore", f"{PREFIX}-{name}", stdout=subprocess.DEVNULL)
    elif args.verb == "inventory":
        text = inventory(args.names)
        if args.output:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(text + "\n")
        else:
            print(text)
    elif args.verb == "port":
        print(hosts()[args.name]["port"])
    elif args.verb == "ssh":
        user, command = "root", args.command
        if command and command[0].endswith("@"):
            user, command = command[0][:-1], command[1:]
        argv = ssh_argv(hosts()[args.name]["port"], user) + command
        os.execvp(argv[0], argv)
    elif args.verb == "exec":
        argv = [*enter(), "podman", "exec", "-i", f"{PREFIX}-{args.name}", *args.command]
        os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
