"""`run_trader.py doctor`: is the set-up fit, and what to do where it is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from textwrap import indent
from typing import TYPE_CHECKING

import click

from commands.common import print_json
from trader.domain.errors import ExitStatus

if TYPE_CHECKING:
    from commands.doctor_checks import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(name="doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--offline", is_flag=True, help="Do not ask the exchange.")
@click.option("--test-alerts", is_flag=True, help="Send a test message to every receiver.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def command(context: click.Context, offline: bool, test_alerts: bool, as_json: bool) -> None:
    """Check the set-up; every line is ok, warn or fail, with its remedy.

    The exit status is 1 if a line is fail, else 0.

    \b
    Example:
      python run_trader.py doctor
    """
    from commands.doctor_checks import Patient, examine

    patient = Patient(network=not offline, test_alerts=test_alerts)
    mode = patient.config.mode if patient.config else "UNKNOWN"
    if not as_json:
        click.echo(f"set-up{mode:>66}")
    findings: list[Finding] = []
    for found in examine(patient):
        findings.append(found)
        if not as_json:
            _print(found)
    counts = Counter(found.state for found in findings)
    if as_json:
        print_json({"mode": mode, "counts": {s: counts[s] for s in _COLOURS},
                    "checks": [asdict(found) for found in findings]})  # fmt: skip
    else:
        click.echo(", ".join(f"{counts[state]} {state}" for state in _COLOURS))
    if counts["fail"]:
        context.exit(ExitStatus.FAILED)


def _print(found: Finding) -> None:
    state = click.style(f"{found.state:<5}", fg=_COLOURS[found.state])
    detail = "\n".join(line.strip() for line in found.detail.splitlines())
    click.echo(f"{state} {found.check:<15} {indent(detail, ' ' * 22).strip()}")
    if found.remedy:
        click.echo(f"{'':<21} → {found.remedy}")
