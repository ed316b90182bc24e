"""Alerts arrive once each, in order, at a real receiver, however often it was down."""

import email
import json
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.domain.event_samples import SAMPLES, T0
from trader.alerts import (
    Alert,
    AlertDesk,
    AlertOutbox,
    AppriseChannel,
    QuietHours,
    alert_for,
    mail_url,
)
from trader.domain.errors import TraderError, UsageError
from trader.domain.events import (
    EmergencyStopped,
    HealthChanged,
    ModelDoubted,
    TradeRefused,
    Troubled,
)
from trader.domain.markets import Pair
from trader.domain.signals import Refusal


class Receiver:
    """A webhook receiver on an ephemeral port that can refuse."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.down = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not outer.down:
                    outer.got.append(json.loads(body))
                self.send_response(503 if outer.down else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[AlertOutbox]:
    made = AlertOutbox(tmp_path / "alerts.db")
    yield made
    made.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def desk(outbox: AlertOutbox, url: str, now: datetime = T0) -> AlertDesk:
    return AlertDesk(outbox, [AppriseChannel(url)], lambda: now)


@pytest.mark.slow
def test_an_alert_arrives_as_json_at_a_plain_address(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    sender = desk(outbox, receiver.url)
    sender.take(1, SAMPLES["EmergencyStopped"])
    assert sender.deliver()
    assert receiver.got[0]["title"] == "Emergency stop"
    assert "asked by the user" in receiver.got[0]["message"]


@pytest.mark.slow
def test_what_could_not_be_sent_arrives_later_once_and_in_order(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    receiver.down = True
    sender = desk(outbox, receiver.url)
    for kind in ("SessionStarted", "HealthChanged", "EmergencyStopped"):
        sender.take(1, SAMPLES[kind])
    assert not sender.deliver()
    assert receiver.got == []
    receiver.down = False
    assert sender.deliver()
    assert sender.deliver()
    titles = [message["title"] for message in receiver.got]
    assert titles == ["Bot started (PAPER)", "The exchange cannot be reached", "Emergency stop"]


@pytest.mark.slow
def test_what_waits_survives_a_restart(receiver: Receiver, tmp_path: Path) -> None:
    first = AlertOutbox(tmp_path / "alerts.db")
    first.post(Alert("k", "warning", "kept", "body"), T0, [AppriseChannel(receiver.url).name])
    first.close()
    second = AlertOutbox(tmp_path / "alerts.db")
    assert desk(second, receiver.url).deliver()
    second.close()
    assert [message["title"] for message in receiver.got] == ["kept"]


@pytest.mark.slow
def test_ten_thousand_identical_faults_make_one_message_an_hour(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    names = [AppriseChannel(receiver.url).name]
    for second in range(10_000):
        now = T0 + timedelta(seconds=second)
        outbox.post(Alert("trouble", "warning", "Trouble", "no answer"), now, names)
    assert desk(outbox, receiver.url).deliver()
    assert len(receiver.got) == 3
    assert "times more since" in receiver.got[0]["message"]


@pytest.mark.slow
def test_the_background_thread_sends_without_being_asked(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    sender = desk(outbox, receiver.url)
    sender.start()
    sender.take(1, Troubled(T0, "unreachable", "no answer"))
    sender.close()
    assert len(receiver.got) == 1


def test_secrets_are_hidden_before_they_are_stored(tmp_path: Path) -> None:
    outbox = AlertOutbox(tmp_path / "a.db", hide=lambda text: text.replace("s3cr3t", "***"))
    outbox.post(Alert("k", "info", "t", "key s3cr3t"), T0, ["me"])
    assert [alert.body for _, alert in outbox.pending("me")] == ["key ***"]
    outbox.close()


def test_a_mail_arrives_at_a_real_smtp_server() -> None:
    from aiosmtpd.controller import Controller

    class Mailbox:
        def __init__(self) -> None:
            self.mails: list[bytes] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.mails.append(envelope.content)
            return "250 OK"

    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        address = mail_url(f"smtp://127.0.0.1:{server.port}", "me@example.org")
        AppriseChannel(address).send("Emergency stop", "limit reached", "critical")
    finally:
        server.stop()
    mail = email.message_from_bytes(box.mails[0])
    assert mail["Subject"] == "Emergency stop"
    assert "me@example.org" in mail["To"]


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host/x"])
def test_an_address_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises(UsageError):
        AppriseChannel(url)


@pytest.mark.parametrize("url", ["", "http://host", "smtp://"])
def test_a_mail_server_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises(UsageError):
        mail_url(url, "me@example.org")


def test_a_receiver_that_is_not_there_is_an_error_and_no_crash() -> None:
    with pytest.raises(TraderError):
        AppriseChannel("http://127.0.0.1:9/hook").send("t", "b", "info")


def test_ordinary_events_are_worth_no_alert() -> None:
    quiet = {"SignalMade", "TradeApproved", "EquityMarked", "OrderIntended", "OrderFilled"}
    assert {kind for kind in quiet if alert_for(SAMPLES[kind])} == set()


def test_severity_follows_the_state_of_health() -> None:
    alert = alert_for(SAMPLES["HealthChanged"])
    assert alert is not None
    assert alert.severity == "critical"


@pytest.mark.slow
def test_a_receiver_that_is_down_neither_delays_nor_repeats_the_others(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    down = AppriseChannel("http://127.0.0.1:9/hook")
    sender = AlertDesk(outbox, [down, AppriseChannel(receiver.url)], lambda: T0)
    sender.take(1, SAMPLES["EmergencyStopped"])
    assert not sender.deliver()
    assert not sender.deliver()
    assert [message["title"] for message in receiver.got] == ["Emergency stop"]
    assert len(outbox.pending(down.name)) == 1


@pytest.mark.slow
def test_in_quiet_hours_only_critical_alerts_are_sent_and_the_others_wait(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    now = [T0.replace(hour=23)]
    sender = AlertDesk(
        outbox, [AppriseChannel(receiver.url)], lambda: now[0], quiet=QuietHours(22, 7)
    )
    sender.take(1, SAMPLES["SessionStarted"])
    sender.take(2, SAMPLES["EmergencyStopped"])
    sender.deliver()
    assert [message["title"] for message in receiver.got] == ["Emergency stop"]
    now[0] += timedelta(hours=9)
    assert sender.deliver()
    titles = [message["title"] for message in receiver.got]
    assert titles == ["Emergency stop", "Bot started (PAPER)"]


@pytest.mark.slow
def test_every_fill_is_told_only_where_it_is_wanted(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    for fills in (False, True):
        sender = AlertDesk(outbox, [AppriseChannel(receiver.url)], lambda: T0, fills=fills)
        sender.take(1, SAMPLES["OrderFilled"])
        sender.deliver()
        assert len(receiver.got) == int(fills)


@pytest.mark.slow
def test_after_an_hour_without_a_receiver_everything_arrives_once_and_in_order(
    receiver: Receiver, tmp_path: Path
) -> None:
    """One matter a minute; the program is killed and started again in the middle."""
    now = [T0]
    receiver.down = True
    outbox = AlertOutbox(tmp_path / "alerts.db")
    sender = AlertDesk(outbox, [AppriseChannel(receiver.url)], lambda: now[0])
    for minute in range(60):
        now[0] = T0 + timedelta(minutes=minute)
        sender.take(minute, HealthChanged(now[0], f"check {minute:02}", "fail", "x"))
        if minute % 10 == 9:  # the longest pause between two tries
            assert not sender.deliver()
        if minute == 30:
            outbox.close()
            outbox = AlertOutbox(tmp_path / "alerts.db")
            sender = AlertDesk(outbox, [AppriseChannel(receiver.url)], lambda: now[0])
    receiver.down = False
    assert sender.deliver()
    assert sender.deliver()
    outbox.close()
    titles = [message["title"] for message in receiver.got]
    assert titles == [f"check {minute:02}: fail" for minute in range(60)]


@pytest.mark.slow
def test_ten_thousand_identical_faults_of_the_loop_make_a_handful_of_messages(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    now = [T0]
    sender = AlertDesk(outbox, [AppriseChannel(receiver.url)], lambda: now[0])
    for second in range(10_000):
        now[0] = T0 + timedelta(seconds=second)
        sender.take(second, Troubled(now[0], "unreachable", "no answer"))
    assert sender.deliver()
    assert len(receiver.got) == 3


@pytest.mark.slow
def test_what_cannot_decide_between_good_and_bad_is_told_six_times_an_hour(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    sender = desk(outbox, receiver.url)
    for turn in range(10_000):
        sender.take(turn, HealthChanged(T0, "exchange", "ok" if turn % 2 else "fail", "x"))
    assert sender.deliver()
    assert len(receiver.got) == 6


@pytest.mark.slow
def test_a_second_failure_within_the_hour_is_news_when_it_was_well_in_between(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    sender = desk(outbox, receiver.url)
    for state in ("fail", "ok", "fail"):
        sender.take(1, HealthChanged(T0, "stops", state, "BTC/USD"))
    sender.deliver()
    titles = [message["title"] for message in receiver.got]
    assert [title[:20] for title in titles] == [
        "A protective stop is", "Every position has i", "A protective stop is",
    ]  # fmt: skip


@pytest.mark.slow
def test_two_emergency_stops_within_an_hour_are_two_messages(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    sender = desk(outbox, receiver.url)
    for minute in range(2):
        at = T0 + timedelta(minutes=minute)
        sender.take(minute, EmergencyStopped(at, "drill", False, "me"))
    sender.deliver()
    assert len(receiver.got) == 2


@pytest.mark.slow
def test_a_limit_found_tripped_and_the_trade_it_refuses_are_one_message(
    receiver: Receiver, outbox: AlertOutbox
) -> None:
    sender = desk(outbox, receiver.url)
    sender.take(1, HealthChanged(T0, "limit daily-loss", "warn", "3 % of 3 %"))
    pair = Pair("BTC", "USD")
    sender.take(2, TradeRefused(T0, Refusal(pair, T0, "daily-loss", "3 % of 3 %")))
    sender.deliver()
    assert [message["title"] for message in receiver.got] == ["Limit reached: daily-loss"]


@pytest.mark.parametrize(
    ("event", "severity", "title"),
    [
        (HealthChanged(T0, "limit drawdown", "warn", "x"), "warning", "Limit reached: drawdown"),
        (HealthChanged(T0, "limit losing-streak", "warn", "x"), "warning",
         "Limit reached: losing-streak"),
        (HealthChanged(T0, "exchange", "fail", "x"), "critical",
         "The exchange cannot be reached"),
        (HealthChanged(T0, "stops", "fail", "x"), "critical", "A protective stop is missing"),
        (ModelDoubted(T0, "m", 24.0, "x"), "warning",
         "The model is doubted: the trend rule decides alone"),
        (SAMPLES["SessionStarted"], "info", "Bot started (PAPER)"),
        (SAMPLES["SessionEnded"], "info", "Bot stopped"),
    ],
)  # fmt: skip
def test_what_matters_is_told_with_its_severity(event: Any, severity: str, title: str) -> None:
    alert = alert_for(event)
    assert alert is not None
    assert (alert.severity, alert.title) == (severity, title)
