"""What `doctor` looks at: one small function per check, in the order in which they are shown.

A new check is one function with `@check("name")`; it gets the `Patient` and returns `ok`, `warn`
or `fail`, the last two with a remedy. Whatever it raises is told as its failure.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from config import Config, is_loopback, load_config
from trader.domain.errors import AuthError, TraderError, UnknownPair, UsageError

if TYPE_CHECKING:
    from kraken_client import KrakenClient

PROJECT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)
_LITTLE_DISK_GB = 1.0
_NO_DISK_GB = 0.2
_LITTLE_MEMORY_GB = 0.7
_CLOCK_WARN_S = 2.0
_CLOCK_FAIL_S = 30.0
_BEAT_OLD_S = 120.0
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `ok`, `warn` or `fail`, and what to do about it."""

    state: str
    detail: str
    remedy: str = ""
    check: str = ""


def ok(detail: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", detail)


def warn(detail: str, remedy: str) -> Finding:
    """It works, but something is missing."""
    return Finding("warn", detail, remedy)


def fail(detail: str, remedy: str) -> Finding:
    """Something will not work."""
    return Finding("fail", detail, remedy)


@dataclass(slots=True)
class Patient:
    """The set-up under examination.

    Attributes:
        env_file: where the settings are.
        config: None when the settings are wrong; then only the checks that need none run.
        network: False leaves out what would ask the exchange.
        test_alerts: send a message to every receiver.
    """

    env_file: Path = Path(".env")
    network: bool = True
    test_alerts: bool = False
    config: Config | None = None
    config_fault: UsageError | None = None
    _client: list[KrakenClient] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.config = load_config(self.env_file)
        except UsageError as fault:
            self.config_fault = fault

    def client(self, config: Config) -> KrakenClient:
        """The exchange, asked briefly: whoever waits for a doctor wants an answer."""
        from kraken_client import KrakenClient
        from trader.exchanges.kraken_calls import Retries
        from trader.exchanges.kraken_nonces import FileNonces
        from trader.exchanges.transport import Timeouts

        key = config.kraken_api_key
        if not self._client:
            self._client.append(
                KrakenClient(
                    key,
                    config.kraken_api_secret,
                    # The running bot may use the same key: both count in one file.
                    nonces=FileNonces.for_key(config.data_dir, key) if key else None,
                    url=config.kraken_api_url,
                    timeouts=Timeouts(connect_s=3, read_s=5, total_s=6),
                    retries=Retries(attempts=1),
                )
            )
        return self._client[0]


General = Callable[[Patient], Finding]
Configured = Callable[[Patient, Config], Finding]
_CHECKS: list[tuple[str, General | None, Configured | None]] = []


def general(name: str) -> Callable[[General], General]:
    """Register a check that needs no settings."""

    def register(function: General) -> General:
        _CHECKS.append((name, function, None))
        return function

    return register


def check(name: str) -> Callable[[Configured], Configured]:
    """Register a check that looks at something the settings name."""

    def register(function: Configured) -> Configured:
        _CHECKS.append((name, None, function))
        return function

    return register


def names() -> tuple[str, ...]:
    """Every check, in order."""
    return tuple(name for name, _, _ in _CHECKS)


def examine(patient: Patient) -> Iterator[Finding]:
    """Run every check; those that need settings are left out while these are wrong."""
    for name, plain, configured in _CHECKS:
        try:
            if plain is not None:
                found = plain(patient)
            elif configured is not None and patient.config is not None:
                found = configured(patient, patient.config)
            else:
                continue
        except TraderError as fault:
            found = fail(fault.message, fault.hint)
        except Exception as fault:  # noqa: BLE001 - a doctor must survive what it examines
            found = fail(f"{type(fault).__name__}: {fault}", "Please report this as a bug.")
        yield replace(found, check=name)


# ---------------------------------------------------------------- the machine


@general("python")
def python(_: Patient) -> Finding:
    """The interpreter is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return fail(f"Python {version}", "Install Python 3.11 or newer and run install.sh again.")
    return ok(f"Python {version}")


@general("packages")
def packages(_: Patient) -> Finding:
    """Every locked package is there, in the locked version."""
    from packaging.requirements import Requirement

    lock = PROJECT / "requirements.txt"
    if not lock.exists():
        return ok("installed as a package; versions are those that pip chose")
    wanted = [Requirement(line) for line in lock.read_text().splitlines() if line[:1].isalnum()]
    absent, other = [], []
    for one in (w for w in wanted if w.marker is None or w.marker.evaluate()):
        try:
            if not one.specifier.contains(metadata.version(one.name), prereleases=True):
                other.append(f"{one.name} {metadata.version(one.name)}")
        except metadata.PackageNotFoundError:
            absent.append(one.name)
    remedy = "Run ./scripts/install.sh, or: pip install -r requirements.txt"
    if absent:
        return fail(f"missing: {', '.join(absent)}", remedy)
    if other:
        return warn(f"not the tested version: {', '.join(other)}", remedy)
    return ok(f"{len(wanted)} packages as locked")


@general("memory")
def memory(_: Patient) -> Finding:
    """There is room for a training."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        table = Path("/proc/meminfo")
        if table.exists():
            rows = dict(line.split(":", 1) for line in table.read_text().splitlines())
            free = int(rows["MemAvailable"].split()[0]) * 1024
    except (ValueError, OSError, KeyError, AttributeError):
        return ok("not told by this system")
    if free / _GB < _LITTLE_MEMORY_GB:
        return warn(f"{free / _GB:.1f} GB free", "Close other programs before a training.")
    return ok(f"{free / _GB:.1f} GB free")


# ---------------------------------------------------------------- the settings


@general("settings")
def settings(patient: Patient) -> Finding:
    """The settings can be read."""
    if patient.config_fault is not None:
        return fail(patient.config_fault.message, patient.config_fault.hint)
    if not patient.env_file.exists():
        return ok("no .env here: defaults and environment variables")
    return ok(f"{patient.env_file} and environment variables")


@general("secrets")
def secrets(patient: Patient) -> Finding:
    """Nobody else can read the file with the keys."""
    file = patient.env_file
    if os.name != "posix" or not file.is_file():
        return ok("no file to protect")
    if _in_git(file):
        return fail(f"{file} is under version control",
                    f"git rm --cached {file}; make new keys at the exchange")  # fmt: skip
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & 0o077:
        return ok(f"{file} is for you alone")
    found = f"{file} can be read by others (mode {mode:o})"
    has_secret = patient.config is not None and bool(patient.config.kraken_api_secret)
    return (fail if has_secret else warn)(found, f"chmod 600 {file}")


def _in_git(file: Path) -> bool:
    if shutil.which("git") is None:
        return False
    done = subprocess.run(  # noqa: S603
        ["git", "ls-files", "--error-unmatch", file.name],  # noqa: S607
        cwd=file.absolute().parent, capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


@check("mode")
def mode(_: Patient, config: Config) -> Finding:
    """What is at stake."""
    if config.sandbox:
        return ok("PAPER: no real order can be sent")
    return warn("LIVE: real money", "For paper trading write SANDBOX=true.")


@check("emergency stop")
def emergency_stop(_: Patient, config: Config) -> Finding:
    """Trading is not stopped."""
    from trader.storage.stop_switch import StopSwitch

    if config.emergency_stop:
        return warn("EMERGENCY_STOP=true", "Write EMERGENCY_STOP=false to trade again.")
    request = StopSwitch(config.data_dir).read()
    if request is None:
        return ok("not pressed")
    since = f" since {request.at}" if request.at else ""
    return warn(f"pressed{since}: {request.reason}", "To trade again: run_trader.py resume")


@check("parts")
def parts(_: Patient, config: Config) -> Finding:
    """Strategy, model and exchange can be loaded, the user's own too."""
    from trader.extensions import load_part
    from trader.strategies.registry import find_strategy

    find_strategy(config.strategy)
    if ":" in config.model_type:
        load_part("MODEL_TYPE", config.model_type, "a function (seed) -> classifier")
    if ":" in config.exchange:
        load_part("EXCHANGE", config.exchange, "a class with the methods of ports.Exchange")
    own = [part for part in (config.strategy, config.model_type, config.exchange) if ":" in part]
    own += config.indicators
    return ok(f"your own: {', '.join(own)}" if own else f"strategy {config.strategy}")


# ---------------------------------------------------------------- disk


@check("folders")
def folders(_: Patient, config: Config) -> Finding:
    """Data, models and logs can be written."""
    wanted = (config.data_dir, config.models_dir, config.logs_dir)
    for folder in wanted:
        place = _nearest_existing(folder)
        try:
            with tempfile.TemporaryFile(dir=place) as probe:
                probe.write(b"probe")
        except OSError as fault:
            return fail(f"{folder} cannot be written ({fault.strerror})",
                        f"Check owner and rights: ls -ld {place}")  # fmt: skip
    return ok(", ".join(str(folder) for folder in wanted))


def _nearest_existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


@check("disk")
def disk(_: Patient, config: Config) -> Finding:
    """There is room for the journal."""
    free = shutil.disk_usage(_nearest_existing(config.data_dir)).free / _GB
    remedy = "Make room: without disk no order is sent, because it could not be recorded."
    if free < _NO_DISK_GB:
        return fail(f"{free:.2f} GB free", remedy)
    if free < _LITTLE_DISK_GB:
        return warn(f"{free:.2f} GB free", remedy)
    return ok(f"{free:.0f} GB free")


# ---------------------------------------------------------------- the exchange


@check("exchange")
def exchange(patient: Patient, config: Config) -> Finding:
    """The exchange answers and the clocks agree."""
    if not _asks_the_exchange(config):
        return ok(f"not needed: paper trading on {config.sandbox_feed} prices")
    if not patient.network:
        return ok("not asked (--offline)")
    try:
        before = datetime.now(UTC)
        theirs = patient.client(config).server_time()
        after = datetime.now(UTC)
    except TraderError as fault:
        if config.sandbox and config.sandbox_feed == "auto":
            return warn(f"{config.kraken_api_url} does not answer",
                        "Paper trading will use the simulated market, which is no evidence of "
                        "anything. Check the network.")  # fmt: skip
        return fail(f"{config.kraken_api_url}: {fault.message}", "Check the network.")
    apart = _apart_seconds(before, theirs, after)
    remedy = "Set the machine's clock by NTP: sudo timedatectl set-ntp true"
    if apart > _CLOCK_FAIL_S:
        return fail(f"clock {apart:.0f} s off", remedy)
    if apart > _CLOCK_WARN_S:
        return warn(f"clock {apart:.1f} s off", remedy)
    return ok(f"{config.kraken_api_url} answers; clocks agree")


def _asks_the_exchange(config: Config) -> bool:
    return not config.sandbox or config.sandbox_feed in {"auto", "kraken"}


def _apart_seconds(before: datetime, theirs: datetime, after: datetime) -> float:
    """Least difference that explains an answer in whole seconds within the request's span."""
    early, late = (before - theirs).total_seconds() - 1, (theirs - after).total_seconds()
    return max(0.0, early, late)


@check("pairs")
def pairs(patient: Patient, config: Config) -> Finding:
    """The exchange lists what is to be traded."""
    if not _asks_the_exchange(config) or not patient.network:
        return ok(f"{', '.join(map(str, config.pairs))} (not asked)")
    try:
        for pair in config.pairs:
            rules = patient.client(config).market_rules(pair)
            if rules.status != "online":
                return warn(f"{pair} is {rules.status}", "It trades again when Kraken lets it.")
    except UnknownPair as fault:
        return fail(fault.message, f"PAIRS: {fault.hint}")
    except TraderError:
        return ok(f"{', '.join(map(str, config.pairs))} (the exchange does not answer)")
    return ok(f"{', '.join(map(str, config.pairs))} are listed")


@check("key")
def key(patient: Patient, config: Config) -> Finding:
    """The key may trade and may not withdraw."""
    if not config.kraken_api_key:
        return ok("none, and none is needed for paper trading")
    if not patient.network:
        return ok("not asked (--offline)")
    try:
        patient.client(config).check_key()
    except AuthError as fault:
        return fail(fault.message, fault.hint)
    except TraderError as fault:
        return warn(f"could not be checked: {fault.message}", "Check the network, then again.")
    return ok("may trade, may not withdraw")


# ---------------------------------------------------------------- history, model, journal


@check("history")
def history(_: Patient, config: Config) -> Finding:
    """There are candles to learn from."""
    from trader.storage.history import HistoryStore

    stored = {pair for pair, _ in HistoryStore(config.data_dir, config.exchange).pairs()}
    missing = [str(pair) for pair in config.pairs if pair not in stored]
    if not missing:
        return ok(f"candles of {len(config.pairs)} pairs")
    found = f"none stored for {', '.join(missing)}"
    remedy = "Import Kraken's files: run_trader.py history import PATH"
    if config.sandbox_feed == "replay":
        return fail(found, remedy)
    return warn(found, remedy + "; without them models learn from the simulated market only")


@check("model")
def model(_: Patient, config: Config) -> Finding:
    """There is a whole model for every pair."""
    from trader.learning.features import schema_hash
    from trader.storage.model_store import ModelStore

    schema = schema_hash()
    store, now = ModelStore(config.models_dir), datetime.now(UTC)
    damaged = [e.id for pair in config.pairs for e in store.entries(pair) if e.state == "damaged"]
    if damaged:
        return fail(f"damaged: {', '.join(damaged)}", "Train again, or: run_trader.py models list")
    held = {pair: store.model_for(pair, config.timeframe, now) for pair in config.pairs}
    old = sorted({found.id for found in held.values() if found and found.card.schema != schema})
    missing = [str(pair) for pair, found in held.items() if found is None]
    remedy = "Until there is one the plain trend rule trades: run_trader.py train"
    if old:
        return fail(f"made for the features of another version: {', '.join(old)}", remedy)
    if missing:
        return warn(f"none of {config.timeframe} candles for {', '.join(missing)}", remedy)
    return ok(", ".join(f"{pair} {found.id}" for pair, found in held.items() if found))


@check("journal")
def journal(_: Patient, config: Config) -> Finding:
    """The record of the accounts is whole."""
    from trader.storage.journal import list_books

    path = config.data_dir / "trader.db"
    if not path.exists():
        return ok("none yet")
    books = list_books(path)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        verdict = str(connection.execute("PRAGMA quick_check").fetchone()[0])
    if verdict != "ok":
        return fail(f"{path} is damaged: {verdict}", "Stop the bot and restore a backup.")
    events = sum(book.events for book in books)
    return ok(f"{len(books)} {'book' if len(books) == 1 else 'books'}, {events} events")


# ---------------------------------------------------------------- the running program


@check("bot")
def bot(_: Patient, config: Config) -> Finding:
    """Whether the loop is running."""
    from commands.running import of_settings

    beat = _heartbeat(config, of_settings(config))
    if beat is None:
        return ok("not running")
    age, pid = beat
    if not _alive(pid):
        return ok("not running")
    if age > _BEAT_OLD_S:
        return warn(
            f"process {pid} is there, its last sign of life is {age:.0f} s old",
            "Look at the log. run_trader.py stop --flatten works even if it hangs.",
        )
    return ok(f"running as process {pid}")


def _heartbeat(config: Config, ours: Callable[[str], bool]) -> tuple[float, int] | None:
    from trader.storage.state_file import heartbeat_of

    def now() -> datetime:
        return datetime.now(UTC)

    file = heartbeat_of(config.data_dir, ours, now)
    if file is None:
        return None
    age, pid = file.age_seconds(), (file.read() or {}).get("pid")
    return (age, pid) if age is not None and isinstance(pid, int) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@check("dashboard")
def dashboard(_: Patient, config: Config) -> Finding:
    """The dashboard's port is free, or our own."""
    address = f"{config.dashboard_host}:{config.dashboard_port}"
    family = socket.AF_INET6 if ":" in config.dashboard_host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.dashboard_host, config.dashboard_port))
    except OSError as fault:
        beat = _heartbeat(config, lambda _: True)
        if beat is not None and _alive(beat[1]):
            return ok(f"{address} is in use, probably by the running bot")
        return warn(f"{address}: {fault.strerror}", "Choose another DASHBOARD_PORT.")
    return ok(f"{address} is free{'' if is_loopback(config.dashboard_host) else ', password set'}")


@check("alerts")
def alerts(patient: Patient, config: Config) -> Finding:
    """Somebody hears of trouble."""
    from trader.alerts import AppriseChannel, mail_url

    addresses = {
        "webhook": config.webhook_url,
        "mail": mail_url(config.smtp_url, config.alert_email) if config.alert_email else "",
    }
    ways = {word: AppriseChannel(address) for word, address in addresses.items() if address}
    if not ways:
        return warn("nobody is told of trouble", "Set WEBHOOK_URL, or ALERT_EMAIL and SMTP_URL.")
    if not patient.test_alerts:
        return ok(f"{' and '.join(ways)}; `doctor --test-alerts` sends a test")
    for word, channel in ways.items():
        try:
            channel.send("Test of the alerts", "If you read this, alerts reach you.", "info")
        except TraderError as fault:
            remedy = "Check the address and that this machine may reach it."
            return fail(f"{word}: {fault.message}", remedy)
    return ok(f"{' and '.join(ways)}: a test message was taken; look whether it arrived")
