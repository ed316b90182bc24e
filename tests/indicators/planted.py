"""Functions that look ahead, each in another way. The fuzzer must catch every one."""

import numpy as np
import pandas as pd

from trader.domain.candles import Timeframe

DAY = Timeframe(86400)


def series(values):
    return pd.Series(np.array(values))


def shifted_target(candles):
    return np.append(candles.close[1:] / candles.close[:-1] - 1, np.nan)


def sign_of_the_next_day(candles):
    return np.sign(series(candles.close).shift(-24) - series(candles.close)).to_numpy()


def centred_window(candles):
    return series(candles.close).rolling(5, center=True).mean().to_numpy()


def global_normalisation(candles):
    return (candles.close - candles.close.mean()) / candles.close.std()


def global_minimum_and_maximum(candles):
    return (candles.close - candles.low.min()) / (candles.high.max() - candles.low.min())


def rank_in_the_whole_history(candles):
    return series(candles.close).rank(pct=True).to_numpy()


def threshold_from_all_returns(candles):
    change = series(candles.close).pct_change()
    return (change > change.quantile(0.9)).astype(float).to_numpy()


def unfinished_day(candles):
    day = candles.opened_at // 86400
    return series(candles.close).groupby(day).transform("last").to_numpy()


def days_high_before_the_day_is_over(candles):
    return series(candles.high).groupby(candles.opened_at // 86400).transform("max").to_numpy()


def resampled_look_ahead(candles):
    frame = pd.DataFrame(
        {"close": candles.close}, index=pd.to_datetime(candles.opened_at, unit="s")
    )
    daily = frame["close"].resample("1D").last().rolling(3, min_periods=1).mean()
    return daily.reindex(frame.index, method="ffill").to_numpy()


def filled_backwards(candles):
    sparse = series(candles.close).where(candles.opened_at % 14400 == 0)
    return sparse.bfill().to_numpy()


def interpolated(candles):
    sparse = series(candles.close).where(candles.opened_at % 14400 == 0)
    return sparse.interpolate().to_numpy()


def smoothed_both_ways(candles):
    forward = series(candles.close).ewm(span=10).mean()
    return forward[::-1].ewm(span=10).mean()[::-1].to_numpy()


def fourier_filter(candles):
    spectrum = np.fft.rfft(np.log(candles.close))
    spectrum[20:] = 0
    return np.fft.irfft(spectrum, len(candles))


def detrended_by_a_line_through_everything(candles):
    places = np.arange(len(candles))
    return candles.close - np.polyval(np.polyfit(places, candles.close, 1), places)


def swing_before_it_is_confirmed(candles):
    return (
        candles.high == series(candles.high).rolling(7, center=True, min_periods=1).max()
    ).to_numpy().astype(float)  # fmt: skip


def counted_from_the_end(candles):
    return np.arange(len(candles))[::-1].astype(float)


def share_of_the_total_volume(candles):
    return candles.volume / candles.volume.sum()


def standardised_by_the_last_price(candles):
    return candles.close / candles.close[-1]


def best_window_chosen_in_hindsight(candles):
    change = series(candles.close).pct_change().fillna(0)
    trends = {
        n: (series(candles.close) > series(candles.close).rolling(n).mean()) for n in (5, 10, 20)
    }
    best = max(trends, key=lambda n: float((trends[n].shift(1) == (change > 0)).mean()))
    return trends[best].astype(float).to_numpy()


def principal_component_of_the_whole(candles):
    table = np.column_stack([np.log(candles.close), np.log(candles.high), np.log(candles.low)])
    table = table - table.mean(axis=0)
    return table @ np.linalg.svd(table, full_matrices=False)[2][0]


def outliers_cut_by_global_quantiles(candles):
    change = series(candles.close).pct_change().fillna(0)
    return change.clip(change.quantile(0.05), change.quantile(0.95)).to_numpy()


def gap_to_the_next_candle(candles):
    return np.append(np.diff(candles.opened_at), 0).astype(float)


def minutes_until_the_barrier(candles):
    result = np.full(len(candles), np.nan)
    for i in range(len(candles) - 1):
        beyond = np.flatnonzero(candles.high[i + 1 :] > candles.close[i] * 1.02)
        result[i] = beyond[0] if len(beyond) else np.nan
    return result


def unfinished_coarse_candle_joined_by_its_opening(candles):
    coarse = candles.resampled(Timeframe(14400))
    opened = dict(zip(coarse.opened_at.tolist(), coarse.close.tolist(), strict=True))
    return np.array([opened.get(int(t) - int(t) % 14400, np.nan) for t in candles.opened_at])


_SEEN = []


def memory_of_earlier_calls(candles):
    _SEEN.append(float(candles.close[-1]))
    return candles.close - max(_SEEN)


_CHANCE = np.random.default_rng(0)


def chance_without_a_seed(candles):
    return candles.close + _CHANCE.normal(size=len(candles))


def forget():
    """Begin as a fresh process would."""
    _SEEN.clear()


PLANTED = [
    value for value in list(globals().values())
    if callable(value) and getattr(value, "__module__", "") == __name__
    and value not in (series, forget)
]  # fmt: skip
