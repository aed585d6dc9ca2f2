# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the documentation site into build/docs/html and check every link in it; a warning is an error.

The reference comes from the collection itself by way of antsibull-docs, which brings docs/docsite/rst along;
docs/site has what only the site of its own shows. Links inside the site must lead to a page and a place on it.
Links to elsewhere must be https, and their hosts known names; with --online they are asked for, too.
"""

from __future__ import annotations

import argparse
import html.parser
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITE = ROOT / "docs/site"
OUT = ROOT / "build/docs"


class Page(html.parser.HTMLParser):
    """The links of a page, and the places on it that a link can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.places.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def broken(folder: pathlib.Path) -> tuple[list[str], set[str]]:
    """What is wrong with links of the site, a sentence each, and its links to elsewhere."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    wrong, elsewhere = [], set()
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            said = f"{path.relative_to(folder.resolve())}: {link}"
            if parts.scheme or parts.netloc:
                elsewhere.add(link)
                if parts.scheme not in ("https", "mailto", "data") or (
                    parts.scheme == "https" and "." not in parts.netloc
                ):
                    wrong.append(f"{said} is no https link to a named host")
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                wrong.append(f"{said} leads to no file")
            elif target in pages and urllib.parse.unquote(parts.fragment) not in pages[target].places | {"", "top"}:
                wrong.append(f"{said} leads to no place on that page")
    return wrong, elsewhere


def answers(url: str) -> str | None:
    """Why a link to elsewhere is dead, or None; no network is no reason."""
    asked = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "link check"})
    try:
        urllib.request.urlopen(asked, timeout=10).close()
    except urllib.error.HTTPError as exc:
        return f"{url}: {exc}" if exc.code in (404, 410) else None
    except OSError:
        return None
    return None


def build() -> None:
    rst = OUT / "rst"
    shutil.rmtree(OUT, ignore_errors=True)
    (rst / "policy").mkdir(parents=True)
    # antsibull-docs refuses a folder that others may write.
    os.chmod(rst / "policy", 0o755)
    say = {**os.environ, "LC_ALL": "C.UTF-8"}
    collect = ["antsibull-docs", "--config-file", SITE / "antsibull-docs.cfg", "collection", "--use-current"]
    collect += ["--fail-on-error", "--squash-hierarchy", "--dest-dir", rst / "policy", "sessionops.policy"]
    run([*collect], say)
    for path in SITE.glob("*.rst"):
        shutil.copy(path, rst)
    shutil.copytree(SITE / "images", rst / "images")
    run(["sphinx-build", "-q", "-W", "--keep-going", "-j", "auto", "-c", SITE, "-b", "html", rst, OUT / "html"], say)


def run(argv: list[t.Any], environment: dict[str, str]) -> None:
    """What a command says is shown only if it fails."""
    done = subprocess.run(
        [str(word) for word in argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--online", action="store_true", help="ask for the links to elsewhere, where a network is at hand"
    )
    options = parser.parse_args()
    build()
    wrong, elsewhere = broken(OUT / "html")
    if options.online:
        wrong += [why for why in map(answers, sorted(url for url in elsewhere if url.startswith("https:"))) if why]
    if wrong:
        sys.exit("\n".join(wrong))
    pages = len(list((OUT / "html").rglob("*.html")))
    print(
        f"{pages} pages in {OUT.relative_to(ROOT)}/html; all links inside lead somewhere, {len(elsewhere)} lead elsewhere"
    )


if __name__ == "__main__":
    main()
