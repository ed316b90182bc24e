"""Settings: `.env` and the environment become one frozen `Config`.

`SETTINGS` is the one table; range checks, `.env.example` and the documentation come from it.
A real environment variable wins over the file; an empty value means the default. All faults are
reported at once, each with its place, what was expected and, for an unknown name, the nearest
known one.

`python -m config --example` prints `.env.example`, `--markdown` the table for the documentation.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import io
import ipaddress
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

from trader.domain.errors import UsageError
from trader.domain.markets import Pair
from trader.domain.timeframes import KRAKEN_MINUTES, Timeframe

FEEDS = ("auto", "kraken", "replay", "simulated")
MODEL_TYPES = ("ensemble", "random_forest", "gradient_boosting", "logistic_regression")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
IN_KEYRING = "keyring"
"""Written in place of a secret, it says that the system's keyring keeps it."""
KEYRING_SERVICE = "kraken-ai-trader"
_PASSWORD_LENGTH = 8
_LAST_HOUR = 23
_LIKENESS_IN_FILE = 0.6
_LIKENESS_IN_ENVIRONMENT = 0.85
# Names in the process environment belong to everybody; only these beginnings are ours.
_OUR_PREFIXES = (
    "KRAKEN_API", "SANDBOX", "DASHBOARD_", "RISK_", "MAX_", "STOP_ATR", "RETRAIN_", "TRAINING_",
    "CONFIDENCE_", "EMERGENCY_", "POLL_",
)  # fmt: skip


class Secret(str):
    """A text that does not show itself in a repr, hence in no log and no traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, typed and checked. Fractions are fractions: 0.01 is one percent.

    Attributes:
        sources: setting name → where its value came from (`default`, `environment`,
            `.env line 7`).
    """

    exchange: str
    kraken_api_key: Secret
    kraken_api_secret: Secret
    kraken_api_url: str
    sandbox: bool
    sandbox_feed: str
    sandbox_balance: Decimal
    sandbox_seed: int
    pairs: tuple[Pair, ...]
    timeframe: Timeframe
    poll_seconds: float
    strategy: str
    sentiment_sources: tuple[str, ...]
    indicators: tuple[str, ...]
    model_type: str
    retrain_hours: float
    training_window_days: int
    confidence_threshold: float
    risk_per_trade: Decimal
    volatility_target: Decimal
    rebalance_band: Decimal
    max_position_fraction: Decimal
    stop_atr_multiple: Decimal
    trailing_atr_multiple: Decimal
    max_holding_days: int
    kelly_share: Decimal
    entry_patience_minutes: int
    risk_reward: Decimal
    max_daily_loss: Decimal
    max_drawdown: Decimal
    drawdown_pause_days: int
    max_consecutive_losses: int
    max_open_positions: int
    emergency_stop: bool
    log_level: str
    webhook_url: Secret
    alert_email: str
    smtp_url: Secret
    alert_quiet_hours: str
    alert_fills: bool
    dashboard_host: str
    dashboard_port: int
    dashboard_password: Secret
    data_dir: Path
    models_dir: Path
    logs_dir: Path
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def mode(self) -> str:
        """`PAPER` or `LIVE`, as the first line of everything shows it."""
        return "PAPER" if self.sandbox else "LIVE"

    @property
    def quote(self) -> str:
        """The one currency in which all pairs are priced."""
        return self.pairs[0].quote

    def without_secrets(self) -> Config:
        """The same, fit to be handed to another process or machine."""
        blank: dict[str, Any] = {s.attribute: Secret() for s in SETTINGS if s.secret}
        return replace(self, **blank)

    def with_texts(self, texts: Mapping[str, str]) -> Config:
        """The same with some settings read anew.

        Args:
            texts: setting name → its text, as it would stand in `.env`.

        Raises:
            UsageError: with all faults at once.
        """
        faults: list[_Fault] = []
        given = {name: _Given(text, "--sweep") for name, text in texts.items()}
        values, sources = _values(given, faults, [KNOWN[name] for name in texts])
        if faults:
            raise _as_error(faults)
        return replace(self, **values, sources={**self.sources, **sources})


@dataclass(frozen=True, slots=True)
class Parser:
    """How a text becomes a value.

    Attributes:
        read: raises ValueError when the text is not what is expected; the message, if there is
            one, says how to write it.
        expects: what is expected, as the end of "expected …".
    """

    read: Callable[[str], Any]
    expects: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    section: str
    parser: Parser
    default: str
    help: str

    @property
    def attribute(self) -> str:
        """The name in `Config`."""
        return self.name.lower()

    @property
    def secret(self) -> bool:
        """Its value is never shown."""
        return self.name in _SECRET_NAMES


_SECRET_NAMES = {
    "KRAKEN_API_KEY", "KRAKEN_API_SECRET", "WEBHOOK_URL", "SMTP_URL", "DASHBOARD_PASSWORD",
}  # fmt: skip


# ---------------------------------------------------------------- parsers


def _number(text: str) -> Decimal:
    stripped = text.strip()
    if re.fullmatch(r"-?\d+,\d+", stripped):
        raise ValueError(f"Write the decimal with a point: {stripped.replace(',', '.')}.")
    try:
        value = Decimal(stripped)
    except InvalidOperation:
        raise ValueError("") from None
    if not value.is_finite():
        raise ValueError("")
    return value


def _in_range(value: Decimal, low: str, high: str, hint: str = "") -> Decimal:
    if not Decimal(low) <= value <= Decimal(high):
        raise ValueError(hint)
    return value


def _fraction(low: str, high: str) -> Parser:
    def read(text: str) -> Decimal:
        percent = text.strip().endswith("%")
        value = _number(text.strip().rstrip("%"))
        as_fraction = value / 100
        fits = Decimal(low) <= as_fraction <= Decimal(high)
        hint = f"For {value} % write {as_fraction.normalize():f}." if fits else ""
        if percent:
            raise ValueError(hint)
        return _in_range(value, low, high, hint)

    return Parser(read, f"a fraction from {low} to {high}")


def _decimal(low: str, high: str, unit: str = "a number") -> Parser:
    return Parser(lambda text: _in_range(_number(text), low, high), f"{unit} from {low} to {high}")


def _float(low: str, high: str, unit: str = "a number") -> Parser:
    inner = _decimal(low, high, unit)
    return Parser(lambda text: float(inner.read(text)), inner.expects)


def _integer(low: int, high: int, unit: str = "a whole number") -> Parser:
    def read(text: str) -> int:
        value = _in_range(_number(text), str(low), str(high))
        if value != value.to_integral_value():
            raise ValueError("")
        return int(value)

    return Parser(read, f"{unit} from {low} to {high}")


def _target(low: str, high: str) -> Parser:
    def read(text: str) -> Decimal:
        value = _number(text)
        return value if value == 0 else _in_range(value, low, high)

    return Parser(read, f"0 (no target) or a number from {low} to {high}")


_TRUTH = {"true": True, "yes": True, "on": True, "1": True,
          "false": False, "no": False, "off": False, "0": False}  # fmt: skip


def _read_boolean(text: str) -> bool:
    try:
        return _TRUTH[text.strip().lower()]
    except KeyError:
        raise ValueError("") from None


BOOLEAN = Parser(_read_boolean, "true or false")


def _choice(*allowed: str) -> Parser:
    by_lower = {word.lower(): word for word in allowed}

    def read(text: str) -> str:
        word = text.strip().lower()
        if word in by_lower:
            return by_lower[word]
        near = difflib.get_close_matches(word, by_lower, n=1)
        raise ValueError(f"Did you mean {by_lower[near[0]]}?" if near else "")

    return Parser(read, "one of " + ", ".join(allowed))


def parse_pairs(text: str) -> tuple[Pair, ...]:
    """Read a comma list of pairs that share one quote currency.

    Raises:
        UsageError: if a pair cannot be read, comes twice or has another quote currency.
    """
    words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
    if not words:
        raise UsageError("no pair given", "Write for example BTC/USD,ETH/USD.")
    pairs = tuple(Pair.parse(word) for word in words)
    twice = sorted({str(pair) for pair in pairs if pairs.count(pair) > 1})
    if twice:
        raise UsageError(f"{', '.join(twice)} comes twice", "Name each pair once.")
    quotes = sorted({pair.quote for pair in pairs})
    if len(quotes) > 1:
        raise UsageError(
            f"pairs in {' and '.join(quotes)}: all must share one quote currency",
            "Equity and limits are counted in it; run a second bot for the other one.",
        )
    return pairs


def _read_pairs(text: str) -> tuple[Pair, ...]:
    try:
        return parse_pairs(text)
    except UsageError as fault:
        raise ValueError(f"{fault.message}. {fault.hint}") from None


def _read_timeframe(text: str) -> Timeframe:
    try:
        timeframe = Timeframe.parse(text)
    except UsageError:
        raise ValueError("") from None
    if timeframe.seconds not in {minutes * 60 for minutes in KRAKEN_MINUTES}:
        raise ValueError("Kraken has no candles of that length.")
    return timeframe


def _read_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?", text.strip()):
        raise ValueError("")
    return text.strip()


def _read_modules(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not all(re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", word) for word in words):
        raise ValueError("Without .py, folders with points: my_folder.my_indicators.")
    return words


def _own_or(*allowed: str) -> Parser:
    """One of the names, or `module:name` of a part that the user brings along."""
    named = _choice(*allowed)

    def read(text: str) -> str:
        return _read_name(text) if ":" in text else str(named.read(text))

    return Parser(read, f"{named.expects}, or module:name of your own")


def _read_sources(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not all(re.fullmatch(r"[A-Za-z_][\w.:-]*(=https?://\S+)?", word) for word in words):
        raise ValueError("")
    return words


def _read_web_address(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("")
    return text.strip().rstrip("/")


def _read_alert_address(text: str) -> Secret:
    if text.strip() and not re.match(r"^[a-z][a-z0-9+.-]*://\S+$", text.strip()):
        raise ValueError("")
    return Secret(text.strip())


def _read_smtp_address(text: str) -> Secret:
    parts = urlsplit(text.strip())
    if text.strip() and (parts.scheme not in {"smtp", "smtps"} or not parts.hostname):
        raise ValueError("")
    return Secret(text.strip())


def _read_mail_addresses(text: str) -> str:
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    if not all(re.fullmatch(r"[^@\s]+@[^@\s]+", address) for address in addresses):
        raise ValueError("")
    return ",".join(addresses)


def _read_quiet_hours(text: str) -> str:
    if not text.strip():
        return ""
    found = re.fullmatch(r"(\d{1,2})\s*-\s*(\d{1,2})", text.strip())
    if not found or max(int(found[1]), int(found[2])) > _LAST_HOUR or found[1] == found[2]:
        raise ValueError("")
    return f"{int(found[1])}-{int(found[2])}"


def _read_host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", text.strip()):
        raise ValueError("")
    return text.strip()


def _read_key(text: str) -> Secret:
    if re.search(r"\s|your|<|>", text.strip(), re.IGNORECASE):
        raise ValueError("It looks like a placeholder; leave it empty for paper trading.")
    return Secret(text.strip())


def _read_api_secret(text: str) -> Secret:
    try:
        base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("Copy the private key whole, as Kraken shows it.") from None
    return Secret(text.strip())


def _read_password(text: str) -> Secret:
    if text and len(text) < _PASSWORD_LENGTH:
        raise ValueError("")
    return Secret(text)


TEXT_PAIRS = Parser(_read_pairs, "pairs such as BTC/USD,ETH/USD")
FRAME = Parser(_read_timeframe, "one of 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w, 15d")
NAME = Parser(_read_name, "a name, or module:Class")
MODULES = Parser(_read_modules, "names of modules with commas")
SOURCES = Parser(_read_sources, "names with commas, such as fear-and-greed")
WEB_ADDRESS = Parser(_read_web_address, "an address that begins with https://")
ALERT_ADDRESS = Parser(_read_alert_address, "an address such as https://host/path or ntfy://topic")
SMTP_ADDRESS = Parser(_read_smtp_address, "smtp:// or smtps://user:password@host:port")
MAIL_ADDRESSES = Parser(_read_mail_addresses, "a mail address, or several with commas")
QUIET_HOURS = Parser(_read_quiet_hours, "two hours from 0 to 23, such as 22-7")
HOST = Parser(_read_host, "a host name or address such as 127.0.0.1")
KEY = Parser(_read_key, "the API key, one word")
API_SECRET = Parser(_read_api_secret, "the private key, base64")
PASSWORD = Parser(_read_password, f"at least {_PASSWORD_LENGTH} characters")
FOLDER = Parser(lambda text: Path(text.strip()).expanduser(), "a folder")

# ---------------------------------------------------------------- the table

MONEY, ACCOUNT, MARKET, MODEL, RISK, ALERTS, DASHBOARD, FOLDERS = (
    "Paper or live", "Kraken account (not needed for paper trading)", "What is traded",
    "Model and learning", "Risk and safety", "Log and alerts", "Dashboard", "Folders",
)  # fmt: skip

SETTINGS: tuple[Setting, ...] = (
    Setting("SANDBOX", MONEY, BOOLEAN, "true",
            "true: paper trading, no real order can be sent. false: real money; needs keys."),
    Setting("SANDBOX_FEED", MONEY, _choice(*FEEDS), "auto",
            "Prices for paper trading: kraken (live prices, simulated fills), replay (imported "
            "history), simulated (an invented market), auto (kraken if it answers, else "
            "simulated)."),
    Setting("SANDBOX_BALANCE", MONEY, _decimal("10", "1000000000", "an amount"), "10000",
            "Money in a new paper account, in the quote currency of the pairs."),
    Setting("SANDBOX_SEED", MONEY, _integer(0, 2**31 - 1), "7",
            "Seed of the simulated market: the same seed is the same market."),
    Setting("KRAKEN_API_KEY", ACCOUNT, KEY, "",
            "Key with the rights to query funds and to query, create and cancel orders. Never "
            "give it the right to withdraw."),
    Setting("KRAKEN_API_SECRET", ACCOUNT, API_SECRET, "", "Private key that belongs to it."),
    Setting("KRAKEN_API_URL", ACCOUNT, WEB_ADDRESS, "https://api.kraken.com",
            "Where the exchange answers; the address printed by `run_trader.py sandbox` works "
            "too."),
    Setting("EXCHANGE", ACCOUNT, NAME, "kraken",
            "The exchange: kraken, or module:Class of your own (docs/how-to/add-an-exchange.md). "
            "Stored candles are kept apart by this name."),
    Setting("PAIRS", MARKET, TEXT_PAIRS, "BTC/USD,ETH/USD,SOL/USD",
            "Pairs to trade, with one quote currency."),
    Setting("TIMEFRAME", MARKET, FRAME, "1h", "Length of the candles on which is decided."),
    Setting("POLL_SECONDS", MARKET, _float("0.05", "3600", "seconds"), "10",
            "Seconds between looks at the exchange; in the simulated market the pace of the "
            "candles."),
    Setting("STRATEGY", MARKET, NAME, "ensemble",
            "The strategy: a name from the registry (ensemble, trend, buy-and-hold, …), or "
            "module:Class."),
    Setting("SENTIMENT_SOURCES", MARKET, SOURCES, "",
            "Outside sentiment to read beside the market's own: fear-and-greed (the daily index "
            "of alternative.me), name=address, or module:Class. Empty: none, nobody is asked."),
    Setting("INDICATORS", MARKET, MODULES, "",
            "Modules with indicators and patterns of your own, such as my_indicators; they join "
            "the analysis, and the features if they have two bounds."),
    Setting("MODEL_TYPE", MODEL, _own_or(*MODEL_TYPES), "ensemble",
            "What is trained: all three members that vote, one of them, or module:factory of "
            "your own."),
    Setting("RETRAIN_HOURS", MODEL, _float("0", "8760", "hours"), "168",
            "Hours between trainings; 0 trains only on request."),
    Setting("TRAINING_WINDOW_DAYS", MODEL, _integer(30, 5000, "days"), "1095",
            "Days of history a training uses."),
    Setting("CONFIDENCE_THRESHOLD", MODEL, _float("0.5", "0.99", "a probability"), "0.55",
            "Probability from which a forecast of the model may act; calibrated forecasts "
            "seldom pass 0.6."),
    Setting("RISK_PER_TRADE", RISK, _fraction("0", "0.1"), "0.04",
            "Most of the equity that a position may have lost when its stop is hit, costs "
            "included. A guard: positions are sized by VOLATILITY_TARGET; with the stop 15 % "
            "away, 0.04 still buys for 25 % of equity."),
    Setting("VOLATILITY_TARGET", RISK, _decimal("0.01", "2", "a fraction a year"), "0.25",
            "How much a full position may swing in a year, as a fraction of its pair's share of "
            "the equity; the wilder the market, the smaller the position. Half of it halves "
            "gains and losses."),
    Setting("REBALANCE_BAND", RISK, _decimal("0", "1", "a fraction"), "0.05",
            "A position is left alone while its weight is nearer to the wanted one than this "
            "fraction of its pair's share."),
    Setting("MAX_POSITION_FRACTION", RISK, _fraction("0", "1"), "0.5",
            "Largest part of equity in one pair."),
    Setting("STOP_ATR_MULTIPLE", RISK, _decimal("0.5", "20"), "4",
            "Distance of the protective stop, in daily average true ranges, whatever the "
            "timeframe."),
    Setting("TRAILING_ATR_MULTIPLE", RISK, _decimal("0", "50"), "0",
            "The stop follows the highest close since the entry at this distance in daily "
            "ranges; 0 leaves it where it is, which measured best."),
    Setting("MAX_HOLDING_DAYS", RISK, _integer(0, 3650, "days"), "0",
            "A position held so long is sold; 0 holds as long as the strategy wants."),
    Setting("KELLY_SHARE", RISK, _fraction("0", "1"), "0.25",
            "Where a model's own forecast and a target are followed: part of Kelly's fraction "
            "that may be risked at most, never more than RISK_PER_TRADE; 0 sets no such cap."),
    Setting("ENTRY_PATIENCE_MINUTES", RISK, _integer(0, 10080, "minutes"), "240",
            "How long a purchase waits as a post-only order at the bid, for the lower fee, before "
            "the rest is bought at the market price. 0 buys at once."),
    Setting("RISK_REWARD", RISK, _target("0.1", "50"), "0",
            "Distance of the target in stop distances; 0 sets none, which measured best for "
            "following trends."),
    Setting("MAX_DAILY_LOSS", RISK, _fraction("0", "1"), "0.03",
            "Fraction of the day's first equity after whose loss no new position is opened "
            "that day (UTC); closing with it, the day after neither."),
    Setting("MAX_DRAWDOWN", RISK, _fraction("0", "1"), "0.20",
            "Fall from the highest equity after which no new position is opened."),
    Setting("DRAWDOWN_PAUSE_DAYS", RISK, _integer(0, 3650, "days"), "30",
            "Days of pause after that fall; then it buys again, at half size until half of the "
            "fall is made good. 0: it waits for a person (`stop`, then `resume`)."),
    Setting("MAX_CONSECUTIVE_LOSSES", RISK, _integer(1, 100), "5",
            "Losing trades in a row after which trading pauses."),
    Setting("MAX_OPEN_POSITIONS", RISK, _integer(1, 100), "3", "Positions held at a time."),
    Setting("EMERGENCY_STOP", RISK, BOOLEAN, "false",
            "true: no order is sent. `run_trader.py stop` does the same at once."),
    Setting("LOG_LEVEL", ALERTS, _choice(*LOG_LEVELS), "INFO", "How much is logged."),
    Setting("WEBHOOK_URL", ALERTS, ALERT_ADDRESS, "",
            "Where alerts are sent: https://… gets JSON; services such as discord://, "
            "slack://, tgram:// and ntfy:// work too."),
    Setting("ALERT_EMAIL", ALERTS, MAIL_ADDRESSES, "", "Who gets alerts by mail."),
    Setting("SMTP_URL", ALERTS, SMTP_ADDRESS, "",
            "Mail server for alerts: smtps://user:password@host:465."),
    Setting("ALERT_QUIET_HOURS", ALERTS, QUIET_HOURS, "",
            "Hours (UTC) in which only critical alerts are sent and the others wait: 22-7."),
    Setting("ALERT_FILLS", ALERTS, BOOLEAN, "false", "true: an alert for every fill."),
    Setting("DASHBOARD_HOST", DASHBOARD, HOST, "127.0.0.1",
            "Address the dashboard listens on; anything but this machine needs a password."),
    Setting("DASHBOARD_PORT", DASHBOARD, _integer(0, 65535, "a port"), "5000",
            "Port of the dashboard; 0 takes a free one."),
    Setting("DASHBOARD_PASSWORD", DASHBOARD, PASSWORD, "", "Password of the dashboard."),
    Setting("DATA_DIR", FOLDERS, FOLDER, "data", "Candles, journal and paper account."),
    Setting("MODELS_DIR", FOLDERS, FOLDER, "models", "Trained models."),
    Setting("LOGS_DIR", FOLDERS, FOLDER, "logs", "Logs, one file a day."),
)  # fmt: skip

KNOWN = {setting.name: setting for setting in SETTINGS}

# ---------------------------------------------------------------- loading


class _Fault(NamedTuple):
    """What is wrong, and with which settings.

    Attributes:
        guess: they may be what was meant; one that stands elsewhere without a fault is not.
    """

    text: str
    about: tuple[str, ...] = ()
    guess: bool = False


@dataclass(frozen=True, slots=True)
class _Given:
    """A value and where it was found."""

    text: str
    place: str


def load_config(
    env_file: Path | None = Path(".env"), environ: Mapping[str, str] | None = None
) -> Config:
    """Read the settings.

    Args:
        env_file: the file, absent is fine; None reads none. Relative folders among the settings
            are taken from the file's folder.
        environ: real environment variables, `os.environ` by default.

    Raises:
        UsageError: with all faults at once.
    """
    values, sources, faults = _everything(env_file, environ)
    if not faults:
        faults += _contradictions(values)
    if faults:
        raise _as_error(faults)
    load_indicators(values["indicators"])
    return Config(**values, sources=sources)


def _everything(
    env_file: Path | None, environ: Mapping[str, str] | None
) -> tuple[dict[str, Any], dict[str, str], list[_Fault]]:
    """Every value, the default where it is at fault; where each came from; and the faults."""
    environment = os.environ if environ is None else environ
    faults: list[_Fault] = []
    given = _from_file(env_file, faults) if env_file is not None else {}
    given |= _from_environment(environment, faults)
    values, sources = _values(given, faults, SETTINGS)
    home = env_file.parent if env_file is not None else Path()
    for name in ("data_dir", "models_dir", "logs_dir"):
        values[name] = (home / values[name]).absolute()
    return values, sources, faults


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What can be had of settings with faults.

    Attributes:
        config: every setting that stands there without a fault; the default for the others.
        fault: all that is wrong, None if nothing is.
        unsure: settings of which it is not known what their owner meant.
    """

    config: Config
    fault: UsageError | None
    unsure: frozenset[str]


def salvage_config(
    env_file: Path | None = Path(".env"), environ: Mapping[str, str] | None = None
) -> Salvaged:
    """Read what can be read, for an emergency that must not wait for a repaired `.env`.

    Indicators of the owner's own are not imported: nothing is decided.

    Args:
        env_file: as `load_config` takes it.
        environ: as `load_config` takes it.
    """
    values, sources, faults = _everything(env_file, environ)
    contradictions = list(_contradictions(values))
    unsure = {
        name
        for fault in (*faults, *contradictions)
        for name in fault.about
        if not fault.guess or sources[name] == "default"
    }
    told = faults or contradictions  # those may come of the faults alone
    config = Config(**values, sources=sources)
    return Salvaged(config, _as_error(told) if told else None, frozenset(unsure))


def load_indicators(modules: Iterable[str]) -> None:
    """Let the users' own indicators and patterns register themselves, once per process.

    Raises:
        UsageError: if a module cannot be imported or registers nothing.
    """
    for module in modules:
        if module not in sys.modules:
            _load_indicator_module(module)


def _load_indicator_module(module: str) -> None:
    from trader.extensions import load_module
    from trader.indicators import INDICATORS
    from trader.patterns import PATTERNS

    before = len(INDICATORS) + len(PATTERNS)
    load_module("INDICATORS", module)
    if len(INDICATORS) + len(PATTERNS) == before:
        raise UsageError(
            f"INDICATORS: {module} registers neither an indicator nor a pattern",
            "Put @indicator(...) or @pattern(...) before the function; see "
            "docs/how-to/add-an-indicator.md.",
        )


def _as_error(faults: list[_Fault]) -> UsageError:
    hint = "Every setting is explained in .env.example."
    if len(faults) == 1:
        return UsageError(faults[0].text, hint)
    lines = "".join(f"\n  {fault.text}" for fault in faults)
    return UsageError(f"{len(faults)} faults in the settings:{lines}", hint)


def _from_file(path: Path, faults: list[_Fault]) -> dict[str, _Given]:
    found: dict[str, _Given] = {}
    for name, value, line in _bindings(path, faults):
        place = f"{path.name} line {line}"
        if name is None or value is None:
            text = f"{place}: expected NAME=value."
            own = name is not None and name in KNOWN
            faults.append(_Fault(text, (str(name),) if own else tuple(KNOWN), guess=not own))
        elif name not in KNOWN:
            faults.append(_unknown(name, place, _LIKENESS_IN_FILE))
        elif name in found:
            text = f"{name} in {place}: already given in {found[name].place}."
            faults.append(_Fault(text, (name,)))
        else:
            found[name] = _Given(value, place)
    return found


def _bindings(path: Path, faults: list[_Fault]) -> Iterator[tuple[str | None, str | None, int]]:
    """(name, value, line) of every line that is neither empty nor a comment."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as fault:
        reason = "not UTF-8 text" if isinstance(fault, UnicodeDecodeError) else fault.strerror
        faults.append(_Fault(f"{path}: cannot be read ({reason}).", tuple(KNOWN), guess=True))
        return
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        line = binding.original.line + _leading_newlines(original)
        if binding.error or binding.key is not None:
            yield binding.key, binding.value, line


def _leading_newlines(text: str) -> int:
    """The parser counts the empty lines before a setting to the setting."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def _from_environment(environment: Mapping[str, str], faults: list[_Fault]) -> dict[str, _Given]:
    found: dict[str, _Given] = {}
    for name, value in environment.items():
        if name in KNOWN:
            found[name] = _Given(value, "the environment")
        elif name.startswith(_OUR_PREFIXES) and _nearest(name, _LIKENESS_IN_ENVIRONMENT):
            faults.append(_unknown(name, "the environment", _LIKENESS_IN_ENVIRONMENT))
    return found


def _nearest(name: str, likeness: float) -> str | None:
    near = difflib.get_close_matches(name.upper(), KNOWN, n=1, cutoff=likeness)
    return near[0] if near else None


def _unknown(name: str, place: str, likeness: float) -> _Fault:
    """A misspelt name; one that is near to none concerns no setting of ours."""
    near = _nearest(name, likeness)
    meant = f" Did you mean {near}?" if near else ""
    about = (near,) if near else ()
    return _Fault(f"{name} in {place}: unknown setting.{meant}", about, guess=True)


def _values(
    given: Mapping[str, _Given], faults: list[_Fault], settings: Iterable[Setting]
) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in settings:
        found = given.get(setting.name)
        text, place = (found.text, found.place) if found else ("", "")
        sources[setting.name] = place if text.strip() else "default"
        try:
            values[setting.attribute] = _read(setting, text if text.strip() else setting.default)
        except ValueError as reason:
            faults.append(_Fault(_fault(setting, text, place, str(reason)), (setting.name,)))
            values[setting.attribute] = _read(setting, setting.default)
    return values, sources


def _read(setting: Setting, text: str) -> Any:
    if text == "" and setting.secret:
        return Secret()
    if setting.secret and text.strip() == IN_KEYRING:
        text = _from_keyring(setting.name)
    return setting.parser.read(text)


def _from_keyring(name: str) -> str:
    """The secret that the system's keyring keeps under the setting's name."""
    try:
        import keyring
    except ImportError:
        raise ValueError("The keyring is optional: pip install keyring.") from None
    try:
        found = keyring.get_password(KEYRING_SERVICE, name)
    except keyring.errors.KeyringError as fault:
        raise ValueError(f"The keyring cannot be read: {fault}.") from None
    if found is None:
        raise ValueError(
            f"The keyring has none. Put it there: keyring set {KEYRING_SERVICE} {name}."
        )
    return found


def with_values(text: str, values: Mapping[str, str]) -> str:
    """The text of a settings file in which these settings have these values.

    A line of the setting, also one that is commented out, is replaced; otherwise one is added.

    >>> with_values("# pairs\\n#PAIRS=BTC/USD\\n", {"PAIRS": "ETH/USD"})
    '# pairs\\nPAIRS=ETH/USD\\n'
    """
    for name, value in values.items():
        line = f"{name}={value}"
        text, found = re.subn(rf"(?m)^#?{name}=.*$", lambda _: line, text, count=1)  # noqa: B023
        if not found:
            text = f"{text.rstrip()}\n{line}\n"
    return text


def _fault(setting: Setting, text: str, place: str, reason: str) -> str:
    shown = "***" if setting.secret else text
    said = f" {reason}" if reason else ""
    end = "" if said.endswith(("?", ".")) or not said else "."
    return f"{setting.name}={shown} in {place}: expected {setting.parser.expects}.{said}{end}"


def _contradictions(values: Mapping[str, Any]) -> Iterator[_Fault]:
    """Faults that only show when settings are seen together."""
    key, secret = values["kraken_api_key"], values["kraken_api_secret"]
    pair = ("KRAKEN_API_KEY", "KRAKEN_API_SECRET")
    if bool(key) != bool(secret):
        missing = "KRAKEN_API_SECRET" if key else "KRAKEN_API_KEY"
        yield _Fault(f"{missing} is missing: key and secret belong together.", pair)
    elif not values["sandbox"] and not key:
        yield _Fault(
            "SANDBOX=false trades real money and needs KRAKEN_API_KEY and KRAKEN_API_SECRET. "
            "For paper trading write SANDBOX=true.",
            pair,
        )
    address = urlsplit(values["kraken_api_url"])
    if not values["sandbox"] and address.scheme == "http" and not is_loopback(address.hostname):
        yield _Fault(
            f"KRAKEN_API_URL={values['kraken_api_url']}: real orders need https:// (http:// "
            "is for this machine only).",
            ("KRAKEN_API_URL",),
        )
    if not is_loopback(values["dashboard_host"]) and not values["dashboard_password"]:
        yield _Fault(
            f"DASHBOARD_HOST={values['dashboard_host']} can be reached from other machines: "
            "set DASHBOARD_PASSWORD, or use 127.0.0.1.",
            ("DASHBOARD_HOST",),
        )
    if values["alert_email"] and not values["smtp_url"]:
        yield _Fault(
            "ALERT_EMAIL needs SMTP_URL: without a mail server no alert is sent.", ("SMTP_URL",)
        )


def is_loopback(host: str | None) -> bool:
    """Whether the host can only be reached from this machine.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0")]
    [True, True, True, False]
    """
    if host is None or host.lower() == "localhost":
        return host is not None
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


# ---------------------------------------------------------------- documentation


def example() -> str:
    """The text of `.env.example`: every setting with help, range and default, commented out."""
    lines = [
        "# Settings of the AI crypto trader. Nothing here has to be changed for paper trading.",
        "# A line takes effect when its leading # is removed; an environment variable wins.",
        "# Keep this file to yourself (mode 600). A secret may also lie in the system's keyring:",
        "# write NAME=keyring here, and run: keyring set kraken-ai-trader NAME",
    ]
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            lines += ["", f"# ---- {section} " + "-" * (70 - len(section))]
        lines += ["", *(f"# {line}" for line in _wrapped(setting))]
        lines.append(f"#{setting.name}={setting.default}")
    return "\n".join(lines) + "\n"


def _wrapped(setting: Setting) -> list[str]:
    expected = setting.parser.expects
    return textwrap.wrap(f"{setting.help} [{expected}]", 95, break_on_hyphens=False)


def markdown() -> str:
    """The text of `docs/settings.md`: every setting by section."""
    lines = [
        "# Settings",
        "",
        "They stand in `.env`, one `NAME=value` a line; an environment variable wins, an empty",
        "value means the default. Fractions are fractions: 0.01 is one percent.",
    ]
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            lines += ["", f"## {section}", "", "| setting | default | expects | |",
                      "|---|---|---|---|"]  # fmt: skip
        default = f"`{setting.default}`" if setting.default else ""
        lines.append(
            f"| `{setting.name}` | {default} | {setting.parser.expects} | {setting.help} |"
        )
    return "\n".join(lines) + "\n"


def _main(words: list[str]) -> int:
    outputs = {"--example": example, "--markdown": markdown}
    if len(words) == 1 and words[0] in outputs:
        sys.stdout.write(outputs[words[0]]())
        return 0
    sys.stderr.write(f"usage: python -m config {'|'.join(outputs)}\n")
    return 2


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
