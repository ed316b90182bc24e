"""Who may look and who may press: host check, login, tokens against forgery, strict headers."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, Response, abort, redirect, render_template, request, session, url_for

LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}
TRIES = 5
LOCKED_FOR = timedelta(minutes=1)
_OPEN = {"login", "static", "healthz"}
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


class Guard:
    """Protects an application.

    Args:
        password: asked for when not empty.
        host: the name or address it is served on.
        now: the machine's time.
    """

    def __init__(self, password: str, host: str, now: Callable[[], datetime]) -> None:
        self._password = password
        self._any_host = host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        self._names = LOCAL_NAMES | {host.lower()}
        self._now = now
        self._failures: dict[str, list[datetime]] = {}

    def protect(self, app: Flask) -> None:
        """Put the checks before and the headers after every request; adds `/login`."""
        app.before_request(self._check)
        app.after_request(_with_headers)
        app.context_processor(lambda: {"csrf": _token(), "password_set": bool(self._password)})
        app.add_url_rule("/login", "login", self._login, methods=["GET", "POST"])
        app.add_url_rule("/logout", "logout", self._logout, methods=["POST"])

    def _check(self) -> Any:
        # A page of another site that resolves its name to this machine is turned away here.
        name = request.host.rsplit(":", 1)[0].strip("[]").lower()
        if not self._any_host and name not in self._names:
            abort(400, "this name is not served here")
        if request.method not in {"GET", "HEAD", "OPTIONS"} and not _has_token():
            abort(403, "the page is too old or not ours; load it again")
        if self._password and not (
            request.endpoint in _OPEN or session.get("in") or self._is_known_machine()
        ):
            if request.path.startswith(("/api/", "/metrics")):
                abort(401, "log in first")
            return redirect(url_for("login"))
        return None

    def _is_known_machine(self) -> bool:
        """Programs may read with the password in the request itself (HTTP Basic, any name)."""
        given = request.authorization
        if request.method not in {"GET", "HEAD"} or given is None or given.type != "basic":
            return False
        who = request.remote_addr or "?"
        if self._locked(who):
            return False
        if hmac.compare_digest((given.password or "").encode(), self._password.encode()):
            return True
        self._failures.setdefault(who, []).append(self._now())
        return False

    def _login(self) -> Any:
        fault, status = "", 200
        if request.method == "POST":
            who = request.remote_addr or "?"
            if self._locked(who):
                fault, status = "Too many tries. Wait a minute.", 429
            elif hmac.compare_digest(
                request.form.get("password", "").encode(), self._password.encode()
            ):
                session.clear()
                session["in"] = True
                return redirect("/")
            else:
                self._failures.setdefault(who, []).append(self._now())
                fault, status = "That is not the password.", 401
        return render_template("login.html", fault=fault), status

    def _logout(self) -> Any:
        session.clear()
        return redirect(url_for("login"))

    def _locked(self, who: str) -> bool:
        since = self._now() - LOCKED_FOR
        recent = [moment for moment in self._failures.get(who, []) if moment > since]
        self._failures[who] = recent
        return len(recent) >= TRIES


def _token() -> str:
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    token: str = session["csrf"]
    return token


def _has_token() -> bool:
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
    return bool(sent) and hmac.compare_digest(sent.encode(), str(session.get("csrf", "")).encode())


def _with_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response
