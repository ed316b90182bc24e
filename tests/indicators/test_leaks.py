import numpy as np
import pytest

from tests.indicators.markets import gappy, market
from tests.indicators.planted import PLANTED, centred_window, forget, series
from trader.domain.errors import UsageError
from trader.indicators.leaks import MUTATIONS, find_leaks
from trader.indicators.registry import INDICATORS, compute
from trader.patterns import PATTERNS, compute_patterns

CANDLES = market(1500)


def everything(candles):
    return {**compute(candles), **compute_patterns(candles)}


@pytest.mark.slow
@pytest.mark.parametrize("history", [CANDLES, gappy(1500)], ids=["ordinary", "gaps"])
def test_no_column_of_the_registry_sees_the_future(history):
    report = find_leaks(everything, history, mutations=250, seed=3)
    assert report.leaks == ()
    assert report.mutations == 250
    assert report.columns == len(INDICATORS) + len(PATTERNS)


def test_there_are_at_least_twenty_kinds_of_planted_leaks():
    assert len({planted.__name__ for planted in PLANTED}) >= 20


@pytest.mark.parametrize("planted", PLANTED, ids=lambda f: f.__name__)
def test_a_planted_leak_is_caught_and_named(planted):
    forget()
    found = find_leaks(lambda c: {planted.__name__: planted(c)}, CANDLES, 60, seed=1)
    assert [leak.column for leak in found.leaks] == [planted.__name__]
    assert found.leaks[0].opened_at <= found.leaks[0].known_until


AGAIN = next(name for name in MUTATIONS if name.startswith("the same"))
FUTURES = sorted(set(MUTATIONS) - {AGAIN})


@pytest.mark.parametrize("mutation", FUTURES)
def test_every_mutation_leaves_the_past_alone_and_changes_something_later(mutation):
    rng = np.random.default_rng(5)
    history = CANDLES[:200]
    changed = MUTATIONS[mutation](history, 120, rng)
    assert changed[:121] == history[:121]
    assert changed != history


@pytest.mark.parametrize("mutation", FUTURES)
def test_every_mutation_alone_catches_a_look_at_the_whole(mutation, monkeypatch):
    def whole(candles):
        places = np.arange(len(candles))
        seen = (candles.close * places).sum() + (candles.opened_at * places).sum() / 1e6
        return {"whole": np.full(len(candles), seen)}

    monkeypatch.setattr("trader.indicators.leaks.MUTATIONS", {mutation: MUTATIONS[mutation]})
    assert len(find_leaks(whole, CANDLES, 30, seed=2).leaks) == 1


def test_the_report_says_where_and_by_how_much():
    leak = find_leaks(lambda c: {"centred": centred_window(c)}, CANDLES, 60, seed=1).leaks[0]
    assert leak.candles_ahead <= 2
    assert leak.was != leak.became
    assert "centred: " in str(leak)
    assert f"{leak.opened_at:%Y-%m-%d %H:%M}" in str(leak)


def test_the_same_seed_finds_the_same_leak():
    subject = lambda c: {"centred": centred_window(c)}  # noqa: E731
    assert str(find_leaks(subject, CANDLES, 40, seed=9)) == str(
        find_leaks(subject, CANDLES, 40, seed=9)
    )


def test_an_honest_function_raises_no_alarm():
    honest = lambda c: {"mean": series(c.close).rolling(20).mean().to_numpy()}  # noqa: E731
    assert find_leaks(honest, CANDLES, 200, seed=4).leaks == ()


def test_a_function_that_returns_too_few_values_is_told_so():
    with pytest.raises(UsageError, match="'short' returned"):
        find_leaks(lambda c: {"short": c.close[1:]}, CANDLES, 10)


def mean_of(count, ahead):
    """A mean over so many candles, moved so many candles into the past."""

    def column(candles):
        mean = series(candles.close).rolling(count).mean().shift(-ahead)
        return {"mean": mean.to_numpy()}

    return column


def test_a_window_longer_than_the_ordinary_histories_is_tested_too():
    assert [leak.column for leak in find_leaks(mean_of(600, 1), CANDLES, 200).leaks] == ["mean"]
    assert find_leaks(mean_of(600, 0), CANDLES, 200).leaks == ()
    assert find_leaks(mean_of(600, 0), CANDLES, 200).untested == ()


def test_a_column_that_never_shows_a_number_is_said_to_be_untested():
    report = find_leaks(mean_of(5000, 1), CANDLES, 50)
    assert (report.leaks, report.untested) == ((), ("mean",))
