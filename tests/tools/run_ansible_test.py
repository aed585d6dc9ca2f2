# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test on a staged copy of this checkout: `run_ansible_test.py sanity [ARGS...]`.

ansible-test insists on a path that ends in ansible_collections/NAMESPACE/NAME, and a clone stands anywhere.
Run it with the Python that has ansible-core. It works in a virtual environment, or with `--docker IMAGE` in a container.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import ansible_test
from known_files import CHECKOUT, copy_known_files

BUILD = CHECKOUT / "build"
STAGE = BUILD / "ansible_collections/sessionops/policy"
HOME = BUILD / "home"


def stage() -> None:
    copy_known_files(STAGE)
    # Else ansible-test walks up to this checkout's git, which ignores the copy, and finds nothing to test.
    subprocess.run(["git", "init", "--quiet"], cwd=STAGE, check=True)
    subprocess.run(["git", "add", "--all"], cwd=STAGE, check=True)


def offer_pip() -> None:
    """Put pip where ansible-test looks before it downloads one from a site that many networks do not reach.

    Its virtual environments begin without pip; here pip comes from the package index, like everything else.
    """
    source = pathlib.Path(ansible_test.__file__).parent / "_internal/python_requirements.py"
    found = re.search(r"pip='([0-9.]+)'", source.read_text())
    if not found:
        return
    version = found.group(1)
    wheel = HOME / f"pip-{version}-py3-none-any.whl"
    if not wheel.exists():
        argv = ["-m", "pip", "download", "--quiet", "--no-deps", f"--dest={HOME}", f"pip=={version}"]
        subprocess.run([sys.executable, *argv], check=True)
    script = HOME / f".ansible/test/cache/get_pip_{version.replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(wheel)!r})\n"
        "from pip._internal.cli.main import main\n"
        f"sys.exit(main(['install', '--quiet', '--no-index', '--no-deps', {str(wheel)!r}]))\n"
    )


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    command, *rest = sys.argv[1:]
    stage()
    offer_pip()
    bin_dir = pathlib.Path(sys.executable).parent
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    env = {**os.environ, "HOME": str(HOME), "LC_ALL": "C.UTF-8", "PATH": f"{bin_dir}:{os.environ['PATH']}"}
    where = [] if "--docker" in rest else ["--venv", "--python", version]
    argv = [str(bin_dir / "ansible-test"), command, *where, *rest]
    os.chdir(STAGE)
    os.execve(argv[0], argv, env)


if __name__ == "__main__":
    main()
