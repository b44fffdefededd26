"""`maquette doctor`: what works here, what doesn't and why, and what one would type."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from maquette.app.cli.parser import Parser

if TYPE_CHECKING:
    from maquette.app.doctor import Finding


def main(argv: list[str]) -> int:
    """Run the verb; returns 0 if every required part works, else 1: the installation is at fault, not the input."""
    options = _parse(argv)

    from maquette import __version__
    from maquette.app.doctor import examine

    findings = examine()
    healthy = all(finding.works for finding in findings if finding.required)
    if options.json:
        print(json.dumps({"maquette": __version__, "ok": healthy, "checks": [asdict(found) for found in findings]}))
    else:
        print(_table(findings, __version__))
    return 0 if healthy else 1


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("doctor", __doc__ or "")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    return parser.parse_args(argv)


def _table(findings: "list[Finding]", version: str) -> str:
    """A line a part; under one that doesn't work, what one would type."""
    width = max(len(found.name) for found in findings)
    lines = [f"maquette {version}"]
    for required, title in ((True, "required"), (False, "optional")):
        lines += ["", f"{title}:"]
        for found in findings:
            if found.required is not required:
                continue
            mark = "ok  " if found.works else "FAIL" if required else "no  "
            lines.append(f"  {mark}  {found.name:<{width}}  {found.detail}")
            if not found.works:
                lines.append(f"  {'':<{width + 6}}  for {found.purpose}; to fix it: {found.fix}")
    broken = [found.name for found in findings if found.required and not found.works]
    verdict = f"broken: {', '.join(broken)}" if broken else "everything that is required works"
    return "\n".join([*lines, "", verdict])
