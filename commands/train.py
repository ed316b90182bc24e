"""`run_trader.py train`: train, test on the future of each training, judge, save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from commands.common import parse_time, print_json, say
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair

if TYPE_CHECKING:
    from rich.table import Table

    from config import Config
    from trader.learning.evaluation import Part
    from trader.learning.judging import Breakdown
    from trader.learning.learner import Progress
    from trader.learning.licence import Licence
    from trader.learning.model import HorizonCard
    from trader.learning.training import TrainingResult
    from trader.storage.history import HistoryStore


@click.command(name="train", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pairs", nargs=-1, metavar="[PAIR]...")
@click.option("--end", metavar="TIME", help="Learn only from what was known then.")
@click.option("--timeframe", help="Candle length instead of TIMEFRAME, such as 4h.")
@click.option("--exchange", help="Whose stored candles; EXCHANGE if not given.")
@click.option("--alone", is_flag=True, help="Learn from these pairs only, from no other markets.")
@click.option(
    "--label",
    default="direction",
    show_default=True,
    help="What is predicted: direction, beyond-costs, barriers or trend.",
)
@click.option(
    "--tune",
    type=click.IntRange(0, 500),
    default=0,
    metavar="N",
    help="Try N variants of the members on the past first; each is counted.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    pairs: tuple[str, ...],
    end: str | None,
    timeframe: str | None,
    exchange: str | None,
    alone: bool,
    label: str,
    tune: int,
    as_json: bool,
) -> None:
    """Train one model for the pairs together, test it out of sample, and judge it.

    Without pairs, all configured ones with stored candles. The verdict says whether the model
    may trade real money; paper trading uses it either way, as far as it has shown skill.

    \b
    Example:
      python run_trader.py train BTC/USD ETH/USD
      python run_trader.py train BTC/USD --end 2021-01-01
      python run_trader.py train BTC/USD ETH/USD --tune 20
    """
    from commands.history_offer import complete
    from config import load_config
    from trader.jobs import train_and_save
    from trader.storage.companions import companions_of
    from trader.storage.history import HistoryStore

    config = load_config()
    frame = config.timeframe if timeframe is None else Timeframe.parse(timeframe)
    store = HistoryStore(config.data_dir, exchange or config.exchange)
    until = datetime.now(UTC) if end is None else parse_time(end, "--end")
    named = [Pair.parse(name) for name in pairs]
    complete(config, store, named or config.pairs, frame, end=until, quiet=as_json)
    histories = _histories(store, config, pairs, frame, until)
    leader = _leader(store, histories, frame, until)
    beside = {} if alone else companions_of(
        config.data_dir, store.exchange, histories, frame, until
    )  # fmt: skip
    request = replace(
        _request(config, store.exchange, histories, leader, until), companions=beside, tuning=tune
    )
    request = replace(request, settings=replace(request.settings, label=label))
    say(f"{config.mode}  training on {', '.join(map(str, histories))} {frame}", quiet=as_json)
    if beside:
        say(f"learning also from {', '.join(map(str, beside))}", quiet=as_json)
    started = time.monotonic()
    with _progress(quiet=as_json) as progress:
        result = train_and_save(request, progress)
    seconds = time.monotonic() - started
    if as_json:
        print_json(_document(result, config, seconds))
    else:
        _show(result, config, seconds)


def _uses(result: TrainingResult, config: Config) -> list[str]:
    """For each pair what the new model is now: in use, or why not and what would use it."""
    from trader.storage.model_store import ModelStore

    card, told = result.model.card, []
    store = ModelStore(config.models_dir, card.source)
    for pair in card.pairs:
        entries = [e for e in store.entries(pair) if e.card and e.card.timeframe == card.timeframe]
        state = next((e.state for e in entries if e.id == card.id), "gone")
        used = next((e.id for e in entries if e.state == "in use"), "no model")
        remedy = ""
        if state == "retired":
            remedy = f"; take it back: run_trader.py models restore {pair} {card.id}"
        told.append(
            f"{pair}: the new model is in use" if state == "in use" else
            f"{pair}: the new model is not in use ({state}); in use is {used}{remedy}"
        )  # fmt: skip
    return told


def _histories(
    store: HistoryStore,
    config: Config,
    names: tuple[str, ...],
    timeframe: Timeframe,
    until: datetime,
) -> dict[Pair, Candles]:
    wanted = [Pair.parse(name) for name in names] or list(config.pairs)
    if len({pair.quote for pair in wanted}) > 1:
        raise UsageError("the pairs are priced in several currencies: train them one by one")
    found, missing = {}, []
    for pair in wanted:
        try:
            found[pair] = store.load(pair, timeframe).known_at(until)
        except HistoryError as fault:
            if names:
                raise
            missing.append(fault)
    found = {pair: candles for pair, candles in found.items() if len(candles)}
    if not found:
        raise missing[0] if missing else HistoryError(
            f"no {timeframe} candle of {', '.join(map(str, wanted))} had closed at "
            f"{until:%Y-%m-%d %H:%M} UTC"
        )  # fmt: skip
    return found


def _leader(
    store: HistoryStore, histories: dict[Pair, Candles], timeframe: Timeframe, until: datetime
) -> Candles | None:
    """BTC's candles where they are stored but not among the pairs."""
    quote = next(iter(histories)).quote
    leading = Pair("BTC", quote)
    if leading in histories:
        return None
    try:
        return store.load(leading, timeframe).known_at(until)
    except HistoryError:
        return None


def _request(
    config: Config,
    source: str,
    histories: dict[Pair, Candles],
    leader: Candles | None,
    until: datetime,
) -> Any:
    from trader import __version__
    from trader.jobs import TrainingRequest, learning_settings
    from trader.simulation.costs import table_rates

    newest = max(candles.closed_at for candles in histories.values())
    rates = table_rates(until.date(), next(iter(histories)).base)
    return TrainingRequest(
        histories, source, config.models_dir, min(until, datetime.now(UTC)),
        learning_settings(
            model_type=config.model_type, window_days=config.training_window_days,
            taker_fee=float(rates.taker), confidence_threshold=config.confidence_threshold,
            days=(newest - min(c.first_opened_at for c in histories.values())).days,
        ),
        __version__, leader, own_indicators=config.indicators,
        ledger=config.data_dir / "trials.jsonl",
    )  # fmt: skip


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A bar on stderr; nothing when it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda done, what: bar.update(task, completed=done, description=what)


def _document(result: TrainingResult, config: Config, seconds: float) -> dict[str, Any]:
    card = result.model.card
    return {
        "mode": config.mode,
        "model": {
            "id": card.id,
            "pairs": [str(pair) for pair in card.pairs],
            "timeframe": str(card.timeframe),
            "source": card.source,
            "model_type": card.model_type,
            "trained_at": card.trained_at,
            "trained_from": card.trained_from,
            "known_through": card.known_through,
            "rows": list(card.rows),
            "features": len(card.features),
            "schema": card.schema,
            "data_hash": card.data_hash,
            "seed": card.seed,
            "own_entries": card.sleeve_licensed,
        },
        "horizons": [_horizon(h, result.breakdown.get(h.hours)) for h in card.horizons],
        "tested": {"from": result.tested_from, "to": result.tested_to, "folds": result.folds},
        "sharpe_after_costs": dict(result.sharpe),
        "licence": {
            "granted": result.licence.granted,
            "reasons": list(result.licence.reasons),
            "needed": list(result.licence.needed),
            "notes": list(result.licence.notes),
        },
        "earlier_models": [m.id for m in result.earlier],
        "use": _uses(result, config),
        "notes": _notes(result, config),
        "seconds": round(seconds, 1),
    }


def _notes(result: TrainingResult, config: Config) -> list[str]:
    """What the strategy in use will not be able to do with this model."""
    from trader.strategies.ensemble import NAME, untimed

    card = result.model.card
    timing = untimed(card.timeframe, (horizon.hours for horizon in card.horizons))
    return [f"{NAME}: {timing}"] if timing and config.strategy == NAME else []


def _horizon(card: HorizonCard, parts: Breakdown | None) -> dict[str, Any]:
    scores = {} if card.scores is None else card.scores.as_dict()
    return {
        "hours": card.hours, "skilled": card.skilled, "scores": scores or None,
        "voices": dict(card.voices),
        "parts": None if parts is None else asdict(parts),
    }  # fmt: skip


def _show(result: TrainingResult, config: Config, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    card, console = result.model.card, Console()
    names = ", ".join(map(str, card.pairs))
    console.print(
        f"{config.mode}  model {card.id}: {names} {card.timeframe}, {card.source}", soft_wrap=True
    )
    table = Table(title=_tested(result), title_justify="left", box=None, pad_edge=False)
    for heading in ("horizon", "AUC", "log-loss\nskill (90 %)", "Brier\nskill", "ECE\n(chance)",
                    "tested", "speaks"):  # fmt: skip
        justify: Any = "left" if heading == "horizon" else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for horizon in card.horizons:
        table.add_row(*_row(horizon))
    console.print(table)
    console.print(_parts(result))
    for line in _coverage(result):
        console.print(line, soft_wrap=True)
    for horizon in card.horizons:
        if voices := horizon.voices_in_words():
            console.print(f"{horizon.hours:g} h: the vote is {voices}", soft_wrap=True)
    for note in _notes(result, config):
        console.print(f"note: {note}", soft_wrap=True)
    sharpe = ", ".join(f"{name} {value:.2f}" for name, value in result.sharpe.items())
    if sharpe:
        console.print(f"Sharpe after costs, out of sample: {sharpe}")
    for line in _verdict(result.licence):
        console.print(line, soft_wrap=True)
    console.print(
        f"saved under {config.models_dir}, with {len(result.earlier)} earlier ones for replays; "
        f"{seconds:.0f} s",
        soft_wrap=True,
    )
    for line in _uses(result, config):
        console.print(line, soft_wrap=True)


def _verdict(licence: Licence) -> list[str]:
    """Whether the model may trade real money, why, and what it would take."""
    found = "granted" if licence.granted else "refused"
    needed = ["what it would take, all of it:"] if licence.needed else []
    return [
        f"licence to trade real money: {found}",
        *(f"  · {reason}" for reason in licence.reasons),
        *needed,
        *(f"  · {need}" for need in licence.needed),
        *licence.notes,
    ]


def _tested(result: TrainingResult) -> str:
    if result.tested_from is None or result.tested_to is None:
        return "not tested: too little history"
    return (
        f"out of sample {result.tested_from:%Y-%m-%d} to {result.tested_to:%Y-%m-%d}, "
        f"{result.folds} refits"
    )


def _parts(result: TrainingResult) -> Table:
    """AUC by year and by state of the market, one column a horizon."""
    from rich.table import Table

    table = Table(
        title="AUC, and forecast against outcome, by part", title_justify="left", box=None,
        pad_edge=False,
    )  # fmt: skip
    table.add_column("part", no_wrap=True)
    names: dict[str, None] = {}
    for hours, parts in result.breakdown.items():
        table.add_column(f"{hours:g} h", justify="right", no_wrap=True)
        names |= dict.fromkeys(p.name for p in (*parts.years, *parts.regimes))
    for name in names:
        table.add_row(name, *(_part(name, parts) for parts in result.breakdown.values()))
    return table


def _part(name: str, parts: Breakdown) -> str:
    found: Part | None = next((p for p in (*parts.years, *parts.regimes) if p.name == name), None)
    if found is None:
        return "–"
    return f"{found.auc:.3f}  {found.predicted:.1%} / {found.observed:.1%}"


def _coverage(result: TrainingResult) -> list[str]:
    """How often it speaks, and what it would have been worth where it abstains."""
    lines = []
    for hours, parts in result.breakdown.items():
        beyond = "too few to judge" if parts.outside is None else f"AUC {parts.outside.auc:.3f}"
        inside = "" if parts.inside is None else f", AUC {parts.inside.auc:.3f}"
        lines.append(
            f"{hours:g} h: inside its training domain {parts.coverage:.1%} of the time{inside}; "
            f"outside, where it abstains: {beyond}"
        )
    return lines


def _row(card: HorizonCard) -> tuple[str, ...]:
    scores = card.scores
    if scores is None:
        return (f"{card.hours:g} h", *["–"] * 5, "no")
    return (
        f"{card.hours:g} h", f"{scores.auc:.3f}",
        f"{scores.log_loss_skill:+.2%} ({100 * scores.skill_low:+.2f} … "
        f"{100 * scores.skill_high:+.2f})",
        f"{scores.brier_skill:+.2%}", f"{scores.ece:.3f} ({scores.ece_noise_95:.3f})",
        f"{scores.n:,}",
        "yes" if card.skilled else "no",
    )  # fmt: skip
