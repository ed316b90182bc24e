"""Alerts: what is worth waking somebody for, kept until it has been told.

An alert goes into a durable outbox first and is sent from there by a thread of its own, in
order, each once; a receiver that is down delays messages, it loses none and never holds up the
loop. Repetitions of the same thing within an hour are counted, not sent.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from trader.domain import events as ev
from trader.domain.errors import TraderError, UsageError
from trader.domain.orders import Purpose
from trader.ports import AlertChannel
from trader.wal import begin_wal

REPEAT_AFTER = timedelta(hours=1)
MOST_TURNS = 6
"""Messages an hour about one matter that cannot decide between good and bad."""
FIRST_RETRY = timedelta(seconds=2)
LONGEST_RETRY = timedelta(minutes=10)
_LIMITS_WORTH_A_MESSAGE = {"daily_loss", "drawdown", "losing_streak"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One message.

    Attributes:
        key: alerts with the same key are the same thing said again.
        severity: `info`, `warning` or `critical`.
    """

    key: str
    severity: str
    title: str
    body: str


def alert_for(event: ev.Event) -> Alert | None:
    """The alert an event is worth, None for most."""
    match event:
        case ev.EmergencyStopped():
            what = "; positions are being closed" if event.flatten else ""
            return Alert(
                f"emergency_stop:{event.at}", "critical", "Emergency stop",
                f"{event.reason} (by {event.who}){what}",
            )  # fmt: skip
        case ev.Resumed():
            return Alert(f"resumed:{event.at}", "warning", "Trading resumed", f"by {event.who}")
        case ev.TradeRefused(refusal=r) if r.rule.replace("-", "_") in _LIMITS_WORTH_A_MESSAGE:
            return _limit_alert(r.rule, "warn", r.reason)
        case ev.OrderFilled(fill=f, purpose=purpose) if purpose in (Purpose.STOP, Purpose.FLATTEN):
            return Alert(
                f"fill:{f.trade_id}", "warning", f"{purpose.value} filled: {f.pair}",
                f"{f.side.value} {f.quantity} {f.pair.base} at {f.price}",
            )  # fmt: skip
        case _:
            return _alert_for_state(event)


def _alert_for_state(event: ev.Event) -> Alert | None:
    match event:
        case ev.SessionStarted():
            return Alert(
                f"started:{event.at}", "info", f"Bot started ({event.mode})",
                f"{', '.join(map(str, event.pairs))} {event.timeframe}, strategy "
                f"{event.strategy}, prices from {event.feed}",
            )  # fmt: skip
        case ev.SessionEnded():
            return Alert(f"ended:{event.at}", "info", "Bot stopped", event.reason)
        case ev.HealthChanged(check=check, state=state):
            return _health_alert(check, state, event.detail)
        case ev.ModelDoubted() | ev.ModelTrusted() | ev.ModelCompared():
            return _alert_for_model(event)
        case ev.Troubled():
            title = f"Trouble: {event.category}"
            return Alert(f"trouble:{event.category}", "warning", title, event.message)
        case ev.OrderRefused():
            return Alert(
                f"refused:{event.category}", "warning", "Order refused", event.reason
            )  # fmt: skip
        case ev.Reconciled(differences=differences) if differences:
            return Alert(
                f"reconciled:{event.at}", "warning", "Account differs from the journal",
                "\n".join(differences),
            )  # fmt: skip
        case _:
            return None


_TITLES = {
    ("exchange", "fail"): "The exchange cannot be reached",
    ("exchange", "ok"): "The exchange answers again",
    ("stops", "fail"): "A protective stop is missing",
    ("stops", "ok"): "Every position has its stop again",
    ("disk", "fail"): "The disk is full",
    ("reserve", "fail"): "The disk is full: the last room is in use",
    ("clock", "fail"): "The machine's clock is wrong",
}


def _health_alert(check: str, state: str, detail: str) -> Alert:
    if check.startswith("limit "):
        return _limit_alert(check.removeprefix("limit "), state, detail)
    severity = {"ok": "info", "warn": "warning"}.get(state, "critical")
    title = _TITLES.get((check, state), f"{check}: {state}")
    return Alert(f"health:{check}:{state}", severity, title, detail)


def _limit_alert(rule: str, state: str, detail: str) -> Alert:
    """The same limit is told once, whether it was found tripped or refused a trade."""
    name = rule.replace("_", "-")
    if state == "ok":
        return Alert(f"limit:{name}:ok", "info", f"Limit no longer reached: {name}", detail)
    return Alert(f"limit:{name}:warn", "warning", f"Limit reached: {name}", detail)


def _alert_for_model(
    event: ev.ModelDoubted | ev.ModelTrusted | ev.ModelCompared,
) -> Alert | None:
    match event:
        case ev.ModelDoubted():
            return Alert(
                f"doubted:{event.model_id}:{event.at}", "warning",
                "The model is doubted: the trend rule decides alone", event.reason,
            )  # fmt: skip
        case ev.ModelTrusted():
            return Alert(
                f"trusted:{event.model_id}:{event.at}", "info", "The model is believed again",
                event.reason,
            )  # fmt: skip
        case ev.ModelCompared(verdict="promoted"):
            return Alert(
                f"promoted:{event.challenger}", "info", f"New model in use: {event.challenger}",
                event.reason,
            )  # fmt: skip
        case _:
            return None


def fill_alert(event: ev.Event) -> Alert | None:
    """The message for a fill, for those who want to hear of each."""
    if not isinstance(event, ev.OrderFilled):
        return None
    f = event.fill
    return Alert(
        f"fill:{f.trade_id}", "info", f"{event.purpose.value} filled: {f.pair}",
        f"{f.side.value} {f.quantity} {f.pair.base} at {f.price}, fee {f.fee_quote}",
    )  # fmt: skip


class AlertOutbox:
    """Alerts on their way, in SQLite; each waits for every receiver by itself.

    Args:
        path: the database; made if absent.
        hide: removes secrets from titles and bodies before they are stored.
    """

    def __init__(self, path: Path, hide: Callable[[str], str] = lambda text: text) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._hide = hide
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        begin_wal(self._db)
        self._db.executescript(
            "CREATE TABLE IF NOT EXISTS alerts (id INTEGER PRIMARY KEY, key TEXT, severity TEXT,"
            " title TEXT, body TEXT, at REAL, repeats INTEGER DEFAULT 0);"
            "CREATE INDEX IF NOT EXISTS by_key ON alerts (key, at);"
            "CREATE TABLE IF NOT EXISTS deliveries (alert INTEGER, receiver TEXT, sent_at REAL,"
            " PRIMARY KEY (alert, receiver)) WITHOUT ROWID;"
        )

    def post(self, alert: Alert, now: datetime, receivers: Sequence[str]) -> bool:
        """Keep an alert for the receivers; False if it repeats one of the last hour."""
        since = (now - REPEAT_AFTER).timestamp()
        with self._lock:
            again = self._repeated(alert, since)
            if again is not None:
                self._db.execute("UPDATE alerts SET repeats = repeats + 1 WHERE id = ?", (again,))
                return False
            self._db.execute("BEGIN")
            number = self._db.execute(
                "INSERT INTO alerts (key, severity, title, body, at) VALUES (?, ?, ?, ?, ?)",
                (
                    alert.key, alert.severity, self._hide(alert.title), self._hide(alert.body),
                    now.timestamp(),
                ),
            ).lastrowid  # fmt: skip
            self._db.executemany(
                "INSERT INTO deliveries (alert, receiver) VALUES (?, ?)",
                [(number, receiver) for receiver in receivers],
            )
            self._db.execute("COMMIT")
            return True

    def _repeated(self, alert: Alert, since: float) -> int | None:
        """The alert of the last hour that this one repeats, None if it is news.

        What goes bad, good and bad again is news each time, but not without end: after
        `MOST_TURNS` messages in an hour a matter is counted only.
        """
        first, last = alert.key, alert.key
        if _has_state(alert.key):
            first = alert.key.rpartition(":")[0] + ":"
            last = first + "\U0010ffff"
        rows = self._db.execute(
            "SELECT id, key FROM alerts WHERE key >= ? AND key <= ? AND at > ? ORDER BY id DESC",
            (first, last, since),
        ).fetchall()
        if not rows:
            return None
        if rows[0][1] == alert.key or len(rows) >= MOST_TURNS:
            return int(rows[0][0])
        return None

    def pending(self, receiver: str) -> list[tuple[int, Alert]]:
        """Alerts the receiver has not got yet, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, key, severity, title, body, repeats FROM alerts JOIN deliveries"
                " ON alert = id WHERE receiver = ? AND sent_at IS NULL ORDER BY id",
                (receiver,),
            ).fetchall()
        return [
            (row[0], Alert(row[1], row[2], row[3], _with_repeats(row[4], row[5]))) for row in rows
        ]

    def mark_sent(self, number: int, receiver: str, now: datetime) -> None:
        """The receiver has got this one."""
        with self._lock:
            self._db.execute(
                "UPDATE deliveries SET sent_at = ? WHERE alert = ? AND receiver = ?",
                (now.timestamp(), number, receiver),
            )

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()


def _has_state(key: str) -> bool:
    return key.startswith(("health:", "limit:"))


def _with_repeats(body: str, repeats: int) -> str:
    return f"{body}\n(and {repeats} times more since)" if repeats else body


class AppriseChannel:
    """One receiver, reached through the Apprise library.

    Args:
        url: an Apprise URL (`json://`, `slack://`, `mailto://`, `tgram://` …) or a plain
            http(s) address, which gets a JSON document by POST; addresses of services that
            Apprise knows (Slack, Discord, Teams …) get their own form.

    Raises:
        UsageError: if no receiver can be made of it.
    """

    def __init__(self, url: str) -> None:
        import apprise

        self._apprise = apprise
        receiver = apprise.Apprise.instantiate(url)
        if receiver is None and url.startswith(("http://", "https://")):
            receiver = apprise.Apprise.instantiate("json" + url.removeprefix("http"))
        if receiver is None:
            kind = urlsplit(url).scheme or "no scheme"
            raise UsageError(
                f"the alert address ({kind}) is none that can be used",
                "Use an http(s) address, or an Apprise URL such as discord://… or tgram://…",
            )
        self._receiver = receiver
        # The address itself holds secrets; its hash tells receivers apart across restarts.
        self.name = hashlib.sha256(url.encode()).hexdigest()[:12]

    def send(self, title: str, body: str, severity: str) -> None:
        """Send, or raise.

        Raises:
            TraderError: if the receiver did not take it.
        """
        kinds = {
            "info": self._apprise.NotifyType.INFO,
            "warning": self._apprise.NotifyType.WARNING,
            "critical": self._apprise.NotifyType.FAILURE,
        }
        taken = self._receiver.notify(
            title=title, body=body, notify_type=kinds.get(severity, self._apprise.NotifyType.INFO)
        )
        if not taken:
            raise TraderError(f"the alert '{title}' was not taken by its receiver")


def mail_url(smtp_url: str, to: str) -> str:
    """The Apprise address for mail through a server given as `smtp(s)://user:password@host:port`.

    Raises:
        UsageError: if the server address is none.
    """
    parts = urlsplit(smtp_url)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise UsageError(
            "SMTP_URL is no mail server address",
            "Write smtp://user:password@host:587, or smtps://… for TLS from the first byte.",
        )
    user = parts.username or ""
    login = f"{quote(user)}:{quote(parts.password or '')}@" if user else ""
    port = f":{parts.port}" if parts.port else ""
    sender = user if "@" in user else to
    query = {"from": sender, "to": to, "smtp": parts.hostname}
    scheme = "mailtos" if parts.scheme == "smtps" else "mailto"
    return f"{scheme}://{login}{parts.hostname}{port}?{urlencode(query)}"


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of the day (UTC) in which only critical alerts are sent; the others wait.

    >>> QuietHours(22, 7).at(datetime(2024, 3, 1, 23, 30))
    True
    """

    begins: int
    ends: int

    def at(self, moment: datetime) -> bool:
        """Whether the moment is quiet; hours that pass midnight are understood."""
        if self.begins <= self.ends:
            return self.begins <= moment.hour < self.ends
        return moment.hour >= self.begins or moment.hour < self.ends


class AlertDesk:
    """Turns events into alerts and sends them from a thread of its own.

    Args:
        outbox: where alerts wait.
        channels: the receivers; each gets every alert once, in order.
        now: the machine's time.
        quiet: hours in which only critical alerts are sent.
        fills: whether every fill is worth a message.
    """

    def __init__(
        self,
        outbox: AlertOutbox,
        channels: Sequence[AlertChannel],
        now: Callable[[], datetime],
        quiet: QuietHours | None = None,
        fills: bool = False,
    ) -> None:
        self._outbox = outbox
        self._channels = tuple(channels)
        self._now = now
        self._quiet = quiet
        self._fills = fills
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, number: int, event: ev.Event) -> None:
        """Post the event's alert, if it is worth one; never waits for a receiver."""
        alert = alert_for(event) or (fill_alert(event) if self._fills else None)
        if alert is not None:
            self.post(alert)

    def post(self, alert: Alert) -> None:
        """Keep an alert for every receiver and wake the sender.

        Raises:
            OSError: if the outbox cannot be written.
        """
        names = [channel.name for channel in self._channels]
        try:
            fresh = bool(names) and self._outbox.post(alert, self._now(), names)
        except sqlite3.Error as fault:
            raise OSError(f"the alert outbox cannot be written: {fault}") from fault
        if fresh:
            self._wake.set()

    def start(self) -> None:
        """Begin to send in the background."""
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def close(self, patience_s: float = 3.0) -> None:
        """Send what is waiting for at most that long; the rest stays for the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(patience_s)

    def deliver(self) -> bool:
        """Send what waits, to each receiver in order; False when anything is left."""
        done = [self._deliver_to(channel) for channel in self._channels]
        return all(done)

    def _deliver_to(self, channel: AlertChannel) -> bool:
        quiet = self._quiet is not None and self._quiet.at(self._now())
        left = False
        for number, alert in self._outbox.pending(channel.name):
            if quiet and alert.severity != "critical":
                left = True
                continue
            try:
                channel.send(alert.title, alert.body, alert.severity)
            except (TraderError, OSError):
                return False
            self._outbox.mark_sent(number, channel.name, self._now())
        return not left

    def _run(self) -> None:
        pause = FIRST_RETRY
        while True:
            done = self.deliver()
            if self._stop.is_set():
                return
            pause = FIRST_RETRY if done else min(pause * 2, LONGEST_RETRY)
            self._wake.wait(None if done else pause.total_seconds())
            self._wake.clear()
