"""`make audit`: known vulnerabilities of the locked packages, or a clear word that no service answered.

pip-audit itself ends well where its service knows none of the packages, as behind a mirror that has no advisories, and
with a traceback where there is no network. Neither may be taken for good news.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from riskline.shared.wording import counted

CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 3
"""Exit codes; 2 is wrong usage, as everywhere."""

LONGEST_REASON = 200

SHOWN = 5
"""Packages that a line names before it only counts."""


def audit(lock: Path, pip_audit: Path, service: str, ignored: list[str]) -> int:
    """Prints the known vulnerabilities of a lock file's packages, and returns the exit code."""
    command = [str(pip_audit), "--disable-pip", "--require-hashes", "--requirement", str(lock), "--format", "json"]
    command += ["--vulnerability-service", service, "--progress-spinner", "off"]
    command += [word for advisory in ignored for word in ("--ignore-vuln", advisory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["it did not say why"])[-1][:LONGEST_REASON]
        print(f"{lock.name}: NOT AUDITED: pip-audit could not ask the advisory service ({service}): {reason}")
        return NOT_ASKED
    vulnerable = [package for package in packages if package.get("vulns")]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    for package in vulnerable:
        for found in package["vulns"]:
            print(f"{lock.name}: {package['name']} {package['version']}: {_words(found)}")
    if unknown:
        named = ", ".join(unknown[:SHOWN]) + (", …" if len(unknown) > SHOWN else "")
        print(
            f"{lock.name}: NOT AUDITED: the advisory service ({service}) knows nothing of {len(unknown)} of "
            f"{counted(len(packages), 'package')} ({named}); a package mirror that has no advisories answers so"
        )
    if vulnerable:
        return VULNERABLE
    if unknown or not packages:
        return NOT_ASKED
    print(f"{lock.name}: {counted(len(packages), 'package')}, no known vulnerability")
    return CLEAN


def _words(found: dict[str, Any]) -> str:
    names = ", ".join([found["id"], *found.get("aliases", [])])
    fixed = ", ".join(found.get("fix_versions", []))
    return f"{names}; " + (f"fixed in {fixed}" if fixed else "no version fixes it yet")


def main(words: list[str] | None = None) -> int:
    """Audits each lock file; the worst result is the exit code."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__.splitlines()[0])
    parser.add_argument("locks", nargs="+", type=Path, metavar="LOCK")
    parser.add_argument("--pip-audit", type=Path, required=True, help="the command")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi", help="whom to ask (default: pypi)")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="ID", help="an advisory that is known and meant"
    )
    given = parser.parse_args(words)
    codes = {audit(lock, given.pip_audit, given.service, given.ignore) for lock in given.locks}
    if NOT_ASKED in codes:
        print(
            f"Nothing is known of the packages that were not audited (exit code {NOT_ASKED}): run this where the "
            "service can be reached, or name another with --service."
        )
    return next(code for code in (VULNERABLE, NOT_ASKED, CLEAN) if code in codes)


if __name__ == "__main__":
    sys.exit(main())
