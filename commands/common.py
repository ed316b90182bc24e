"""What all commands share: JSON output, errors without tracebacks, exit statuses, times."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.interrupts import hand_over
from commands.packages import as_error, missing_package
from trader.domain.errors import ExitStatus, TraderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trader.domain.markets import Pair

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_LONGEST_SHOWN = 60
_SMALLEST = Decimal("1e-18")
_LARGEST = Decimal(1_000_000_000_000)


def guarded(group: click.Command, args: list[str] | None = None) -> int:
    """Run a click command; every failure is one clear line and the right exit status.

    With `--json` among the arguments a failure is printed as the JSON document
    `{"error": {...}}` on stdout. `TRADER_DEBUG=1` or `--debug` shows the traceback; without it
    even a fault nobody has foreseen is one line, so that stdout stays one document.
    """
    hand_over()
    words = sys.argv[1:] if args is None else args
    debug = "--debug" in words or os.environ.get("TRADER_DEBUG") == "1"
    as_json = "--json" in words
    try:
        outcome = group.main(
            args=[w for w in words if w != "--debug"], prog_name=None, standalone_mode=False
        )
        sys.stdout.flush()
        return int(outcome) if isinstance(outcome, int) else ExitStatus.DONE
    except click.exceptions.Abort:
        return _report({"category": "aborted", "message": "stopped by the user"}, as_json, 1)
    except click.ClickException as fault:
        return _misused(fault, as_json)
    except TraderError as fault:
        if debug:
            raise
        return _report(fault.as_dict(), as_json, fault.exit_status)
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit:
        # Click and rich say so that a pipe is closed; nothing of ours ends the process itself.
        return _nobody_reads()
    except Exception as fault:  # the one catch-all of the command line
        if debug:
            raise
        lacking = missing_package(fault)
        if lacking is not None:
            return _report(as_error(lacking), as_json, ExitStatus.MISUSED)
        body = {
            "category": "internal",
            "message": f"{type(fault).__name__}: {fault}",
            "hint": "This is a bug. Run it again with --debug and report what it prints.",
        }
        return _report(body, as_json, ExitStatus.FAILED)


def _misused(fault: click.ClickException, as_json: bool) -> int:
    """A call that click does not understand; a bare one gets the help and no complaint."""
    if isinstance(fault, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(fault.format_message(), err=True)
        return ExitStatus.MISUSED
    bare = isinstance(fault, click.exceptions.NoArgsIsHelpError)
    message = "no command given" if bare else fault.format_message()
    where = fault.ctx.command_path if isinstance(fault, click.UsageError) and fault.ctx else ""
    hint = f"See: {where} --help" if where else ""
    body = {"category": "usage", "message": message, "hint": hint}
    return _report(body, as_json, ExitStatus.MISUSED)


def _nobody_reads() -> int:
    """Whoever read our output has seen enough, as `head` has: all was done that was asked."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return ExitStatus.DONE


def _report(body: dict[str, Any], as_json: bool, status: int) -> int:
    body = {"hint": "", "retryable": False, **body}
    if as_json:
        print_json({"error": body})
    else:
        click.echo(f"error: {body['message']}", err=True)
        if body["hint"]:
            click.echo(f"  {body['hint']}", err=True)
    return status


def print_json(document: Any) -> None:
    """Print exactly one JSON document on stdout; NaN becomes null, Decimals keep their digits."""
    from trader.domain.plain import plain  # numpy is too slow for --help

    click.echo(json.dumps(plain(document), indent=2, ensure_ascii=False))


def write_file(option: str, path: Path, text: str) -> None:
    """Write the file that an option names.

    Raises:
        UsageError: if it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise UsageError(
            f"{option} {path}: cannot be written ({fault.strerror or fault})",
            "Name a file in a folder that exists.",
        ) from fault


def say(text: str = "", *, quiet: bool = False) -> None:
    """Talk to the person: on stderr, so that stdout stays the answer.

    Where nobody can hear, as on a full disk, what was to be done is done all the same.
    """
    if not quiet:
        with suppress(OSError):
            click.echo(text, err=True)


def parse_time(text: str, what: str = "time") -> datetime:
    """Read a date or an ISO 8601 time; without an offset it is UTC.

    Raises:
        UsageError: if it is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        # Far enough from the ends of the calendar that nothing counted from it leaves it.
        if not _EARLIEST <= moment <= _LATEST:
            raise ValueError
    except (ValueError, OverflowError):
        raise UsageError(
            f"{what} '{shown(text)}': expected a date such as 2024-03-01 or a time such as "
            "2024-03-01T13:00Z"
        ) from None
    return moment


def parse_end(text: str, what: str = "time") -> datetime:
    """The moment up to which something is meant: a day named without a time is meant whole.

    >>> f"{parse_end('2020-06-30'):%Y-%m-%d %H:%M}"
    '2020-07-01 00:00'
    >>> f"{parse_end('2020-06-30T00:00Z'):%Y-%m-%d %H:%M}"
    '2020-06-30 00:00'

    Raises:
        UsageError: if it is neither a date nor a time.
    """
    moment = parse_time(text, what)
    try:
        date.fromisoformat(text.strip())
    except ValueError:
        return moment
    return moment + timedelta(days=1)


def refuse_misspelt(pair: Pair, known: Iterable[Pair]) -> None:
    """See that a pair is no slip of the finger.

    Args:
        pair: as it was typed.
        known: pairs of which something is stored or known.

    Raises:
        UsageError: if nothing is known under that name, and it is near a known one.
    """
    from trader.exchanges.markets import meant

    near = meant(pair, known)
    if near is not None:
        raise UsageError(f"nothing is known of {pair}", f"Did you mean {near}?")


def parse_amount(what: str, text: str) -> Decimal:
    """Read a quantity, a price or a sum of money: a number above 0.

    Raises:
        UsageError: if it is none, or beyond what money can be reckoned in without losing digits.
    """
    try:
        value = Decimal(text) if text.isascii() else None
    except ArithmeticError:
        value = None
    if value is None:
        raise UsageError(f"{what} '{shown(text)}': expected a number such as 0.01")
    if not value.is_finite() or value <= 0:
        raise UsageError(f"{what} {shown(text)}: expected a number above 0")
    if not _SMALLEST <= value <= _LARGEST:
        raise UsageError(f"{what} {shown(text)}: expected a number from {_SMALLEST} to {_LARGEST}")
    return value


def shown(text: str) -> str:
    """What somebody typed, short enough for one line of an error."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
