"""`run_trader.py models`: which models there are, where they come from, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from commands.common import print_json
from trader.domain.errors import ModelError, UsageError
from trader.domain.markets import Pair

if TYPE_CHECKING:
    from config import Config
    from trader.learning.model import ModelCard
    from trader.storage.model_store import Entry, ModelStore


@click.group(name="models", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List models with their state, show where one comes from, go back to an earlier one.

    \b
    Example:
      python run_trader.py models list
      python run_trader.py models rollback BTC/USD --reason "loses since the fork"
    """


@command.command(name="list")
@click.argument("pairs", nargs=-1, metavar="[PAIR]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(pairs: tuple[str, ...], as_json: bool) -> None:
    """Every model of the pairs (PAIRS if none are given) and its state, oldest knowledge first.

    The newest that is neither a challenger nor retired is in use.

    \b
    Example:
      python run_trader.py models list BTC/USD
    """
    from config import load_config

    config = load_config()
    found = {pair: _store(config).entries(pair) for pair in _pairs(config, pairs)}
    if as_json:
        print_json({str(pair): [_row(e) for e in entries] for pair, entries in found.items()})
        return
    click.echo(f"{config.mode}  models of {', '.join(map(str, found))}")
    for pair, entries in found.items():
        click.echo(f"{pair}: {len(entries)} models under {config.models_dir / pair.slug}")
        for entry in entries:
            click.echo(_line(entry))


@command.command(name="show")
@click.argument("pair")
@click.argument("model_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(pair: str, model_id: str | None, as_json: bool) -> None:
    """Where a model comes from and what is known of it; the one in use if no ID is given.

    \b
    Example:
      python run_trader.py models show BTC/USD
    """
    from config import load_config

    config = load_config()
    wanted = Pair.parse(pair)
    entry = _entry(_store(config), wanted, model_id)
    if entry.card is None:
        raise ModelError(
            f"model {entry.id}: {entry.note}",
            "Train a new one: python run_trader.py train",
        )
    if as_json:
        print_json({"state": entry.state, "note": entry.note, **entry.card.as_dict()})
        return
    first, *others = _lineage(entry.card, entry)
    click.echo(f"{config.mode}  {first}")
    for line in others:
        click.echo(line)


@command.command(name="rollback")
@click.argument("pairs", nargs=-1, metavar="[PAIR]...")
@click.option("--to", "target", metavar="ID", help="Retire all that are newer than this one.")
@click.option("--reason", default="rolled back by hand", help="Kept with the retired models.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def rollback(pairs: tuple[str, ...], target: str | None, reason: str, as_json: bool) -> None:
    """Retire the model in use; the one before it is used from the next candle on.

    A running bot notices by itself. `models restore` takes it back.

    \b
    Example:
      python run_trader.py models rollback BTC/USD
    """
    from config import load_config

    config = load_config()
    store = _store(config)
    done: list[dict[str, Any]] = []
    for pair in _pairs(config, pairs):
        retired = [e.id for e in _newer(store, pair, target)]
        for model_id in retired:
            store.retire(pair, model_id, reason)
        now = next((e.id for e in store.entries(pair) if e.state == "in use"), None)
        done.append({"pair": str(pair), "retired": retired, "in_use": now})
    if as_json:
        print_json({"rolled_back": done})
        return
    click.echo(f"{config.mode}  models go back")
    for row in done:
        left = row["in_use"] or "no model is left: the plain trend rule decides"
        click.echo(f"{row['pair']}: retired {', '.join(row['retired'])}; in use: {left}")


@command.command(name="restore")
@click.argument("pair")
@click.argument("model_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def restore(pair: str, model_id: str, as_json: bool) -> None:
    """Take a retired model, or a challenger, back among those that may be used.

    \b
    Example:
      python run_trader.py models restore BTC/USD 20240301T0000Z-1a2b3c4d
    """
    from config import load_config

    config = load_config()
    store, wanted = _store(config), Pair.parse(pair)
    store.promote(wanted, model_id)
    now = next((e.id for e in store.entries(wanted) if e.state == "in use"), None)
    if as_json:
        print_json({"pair": str(wanted), "restored": model_id, "in_use": now})
    else:
        click.echo(f"{config.mode}  {wanted}: {model_id} may be used again; in use: {now}")


def _store(config: Config) -> ModelStore:
    from trader.storage.model_store import ModelStore

    return ModelStore(config.models_dir)


def _pairs(config: Config, names: tuple[str, ...]) -> list[Pair]:
    return [Pair.parse(name) for name in names] or list(config.pairs)


def _entry(store: ModelStore, pair: Pair, model_id: str | None) -> Entry:
    entries = store.entries(pair)
    for entry in entries:
        if entry.id == model_id or (model_id is None and entry.state == "in use"):
            return entry
    known = ", ".join(e.id for e in entries[-3:]) or "none"
    raise UsageError(
        f"{pair} has no model {model_id or 'in use'}; the newest are: {known}",
        "List them: python run_trader.py models list",
    )


def _newer(store: ModelStore, pair: Pair, target: str | None) -> list[Entry]:
    """The models to retire: the one in use, or all usable ones newer than the target."""
    usable = [e for e in store.entries(pair) if e.state in ("in use", "earlier")]
    if not usable:
        raise ModelError(
            f"{pair} has no model to go back from", "Train one: python run_trader.py train"
        )
    if target is None:
        return [e for e in usable if e.state == "in use"]
    kept = _entry(store, pair, target)
    if kept.card is None or kept.state not in ("in use", "earlier"):
        raise UsageError(f"model {target} is {kept.state}: it cannot be gone back to")
    newer = [e for e in usable[usable.index(kept) + 1 :] if _stands_for(e) == _stands_for(kept)]
    if not newer:
        raise UsageError(f"model {target} is in use already: nothing is newer")
    return newer


def _stands_for(entry: Entry) -> tuple[str, str]:
    """Models of one source and timeframe stand for each other; others are used beside them."""
    return entry.source, "" if entry.card is None else str(entry.card.timeframe)


def _row(entry: Entry) -> dict[str, Any]:
    card = entry.card
    return {
        "id": entry.id,
        "state": entry.state,
        "source": entry.source or None,
        "known_through": None if card is None else card.known_through,
        "trained_at": None if card is None else card.trained_at,
        "parent": None if card is None else card.parent or None,
        "licensed": None if card is None else card.licence.granted,
        "note": entry.note or None,
    }


def _line(entry: Entry) -> str:
    card = entry.card
    if card is None:
        return f"  {entry.id:<26}{entry.state:<12}{entry.note}"
    main = max(card.horizons, key=lambda h: h.hours)
    score = f"AUC {main.scores.auc:.3f} over {main.hours:g} h" if main.scores else "not tested"
    licence = "licensed" if card.licence.granted else "no licence"
    note = f"  ({entry.note})" if entry.note else ""
    return f"  {entry.id:<26}{entry.state:<12}{card.source:<12}{score}, {licence}{note}"


def _lineage(card: ModelCard, entry: Entry) -> list[str]:
    run = f", in run {card.parent}" if card.parent else ""
    told = [
        f"model {card.id}, {entry.state}" + (f" ({entry.note})" if entry.note else ""),
        f"pairs     {', '.join(map(str, card.pairs))} {card.timeframe}, from {card.source}",
        f"learned   {card.trained_from:%Y-%m-%d} to {card.known_through:%Y-%m-%d %H:%M} UTC, "
        f"{', '.join(f'{rows:,}' for rows in card.rows)} rows a horizon",
        f"made      {card.trained_at:%Y-%m-%d %H:%M} UTC by version {card.code_version or '?'}, "
        f"{card.model_type}, seed {card.seed}" + run,
        f"data      {card.data_hash}   features {card.schema} ({len(card.features)} columns)",
    ]
    for horizon in card.horizons:
        scores = horizon.scores
        told.append(
            f"{horizon.hours:>4g} h    not tested" if scores is None else
            f"{horizon.hours:>4g} h    AUC {scores.auc:.3f}, log-loss skill "
            f"{scores.log_loss_skill:+.2%}, ECE {scores.ece:.3f} "
            f"(chance {scores.ece_noise_95:.3f})"
        )  # fmt: skip
        if voices := horizon.voices_in_words():
            told.append(f"          the vote is {voices}")
    verdict = "granted" if card.licence.granted else "refused"
    told.append(f"licence   {verdict}")
    told += [f"          - {reason}" for reason in card.licence.reasons]
    told += [f"          needed: {need}" for need in card.licence.needed]
    told += [f"          {note}" for note in card.licence.notes]
    strongest = [item for item in card.importance if item.lost > 0][:5]
    if strongest:
        told.append("matters   " + "; ".join(item.text for item in strongest))
    return told
