"""`marrow doctor`: is this machine ready, and if not, what to do."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.main import EXIT_FAILED
from marrow.cli.next_step import say_next

if TYPE_CHECKING:
    from rich.console import Console

    from marrow.doctor import Finding

_STYLES = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red"}


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow doctor",
        "Look at versions, devices, number formats, memory, disk and permissions, at packages that are known to be in "
        "the way, and try the whole way from recordings to features in ten seconds. Every problem comes with what to "
        "do. The exit status is 1 where something failed.",
    )
    parser.add_argument("--no_self_test", action="store_true", help="only look, do not try")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    return parser


def run(arguments: Namespace) -> int:
    """Examine, and print what was found."""
    from rich.console import Console

    from marrow.doctor.machine import examine_machine
    from marrow.doctor.packages import examine_packages
    from marrow.doctor.self_test import examine_by_trying

    console = Console(highlight=False, soft_wrap=True)
    findings: list[Finding] = []
    parts = [examine_machine, examine_packages]
    if not arguments.no_self_test:
        parts.append(examine_by_trying)
    for part in parts:
        found = part()
        findings += found
        if not arguments.json:
            for finding in found:
                _show(finding, console)
    failed = sum(finding.level == "FAIL" for finding in findings)
    warned = sum(finding.level == "WARN" for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        print(_summary(failed, warned))
        if failed:
            print("next: what is to be done is said above; then marrow doctor again")
        else:
            say_next("demo")
    return EXIT_FAILED if failed else 0


def _show(finding: "Finding", console: "Console") -> None:
    from rich.text import Text

    console.print(Text.assemble((finding.level, _STYLES[finding.level]), f"  {finding.subject:<16} {finding.text}"))
    if finding.mend:
        console.print(Text(f"      {'':<16} to do: {finding.mend}"))


def _summary(failed: int, warned: int) -> str:
    if failed:
        return f"\n{failed} failed, {warned} to look at: marrow will not work before the failures are mended"
    return f"\nmarrow works here; {warned} to look at" if warned else "\nmarrow works here, and nothing is in the way"
