"""The dashboard by itself: shows the bot that runs, or that ran last."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    import click

    from commands.common import guarded, say
    from config import load_config
except ModuleNotFoundError as fault:
    from commands.packages import end_without

    end_without(fault)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", help="Address to listen on.  [default: DASHBOARD_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: DASHBOARD_PORT, 5000]")
def command(host: str | None, port: int | None) -> None:
    """Show the bot in a browser.

    \b
    Example:
      python scripts/monitor_dashboard.py --port 5001
    """
    from commands.dashboard import listen
    from trader.domain.errors import UsageError

    config = load_config()
    where = host or config.dashboard_host
    if where not in {"127.0.0.1", "localhost", "::1"} and not config.dashboard_password:
        raise UsageError(
            f"the dashboard would be open to everyone who reaches {where}",
            "Set DASHBOARD_PASSWORD in .env, or listen on 127.0.0.1.",
        )
    served = listen(config, where, port)
    say(f"dashboard on {served.url} (Ctrl-C ends it; the bot goes on)")
    try:
        served.run()
    except KeyboardInterrupt:
        say("dashboard closed")


if __name__ == "__main__":
    sys.exit(guarded(command))
