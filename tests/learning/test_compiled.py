import numpy as np
import pytest

from trader.domain.errors import ModelError, UsageError
from trader.learning.compiled import CompiledVote, compile_vote
from trader.learning.estimators import ESTIMATORS, MODEL_TYPES, fit_member, members_of

RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(900, 12)).astype(np.float32)
ROWS[RNG.random(ROWS.shape) < 0.05] = np.nan
UP = (np.nan_to_num(ROWS[:, 0]) + RNG.normal(size=900) > 0).astype(float)


def fitted(names, seed=1):
    return {name: fit_member(name, seed, ROWS, UP) for name in names}


@pytest.fixture(scope="module")
def both():
    members = [fitted(MODEL_TYPES["ensemble"]), fitted(MODEL_TYPES["ensemble"], 2)]
    return members, compile_vote(members)


def test_the_compiled_vote_is_scikit_learns(both):
    members, vote = both
    expected = [
        np.mean([m.predict_proba(ROWS)[:, 1] for m in group.values()], axis=0) for group in members
    ]
    np.testing.assert_allclose(vote.probabilities(ROWS), np.column_stack(expected), atol=1e-12)


VOICES = {"random_forest": 0.6, "gradient_boosting": 0.3, "logistic_regression": 0.1}


def test_each_member_counts_as_much_as_its_voice(both):
    members = both[0][0]
    vote = compile_vote([members], [VOICES])
    expected = sum(VOICES[name] * m.predict_proba(ROWS)[:, 1] for name, m in members.items())
    np.testing.assert_allclose(vote.probabilities(ROWS)[:, 0], expected, atol=1e-12)
    again = CompiledVote.from_arrays(vote.arrays())
    assert again.probabilities(ROWS).tobytes() == vote.probabilities(ROWS).tobytes()


def test_arrays_of_a_model_from_before_the_voices_vote_with_equal_ones(both):
    arrays = both[1].arrays()
    arrays["groups.numbers"] = arrays["groups.numbers"][:, :4]
    older = {name: values for name, values in arrays.items() if not name.endswith(".voice")}
    again = CompiledVote.from_arrays(older)
    assert again.probabilities(ROWS).tobytes() == both[1].probabilities(ROWS).tobytes()


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_lone_member_is_compiled_too(name):
    members = fitted([name])
    alone = compile_vote([members]).probabilities(ROWS)[:, 0]
    np.testing.assert_allclose(alone, members[name].predict_proba(ROWS)[:, 1], atol=1e-12)


def test_one_row_alone_gives_the_same_bits_as_among_many(both):
    vote = both[1]
    many = vote.probabilities(ROWS)
    for row in (0, 7, 511, 512, 899):
        assert vote.probabilities(ROWS[row : row + 1]).tobytes() == many[row].tobytes()


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_member_fitted_twice_with_one_seed_is_the_same_bit_for_bit(name):
    first, second = (compile_vote([fitted([name])]).probabilities(ROWS) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_fitting_changes_neither_rows_nor_outcomes(name):
    rows, up = ROWS.copy(), UP.copy()
    fit_member(name, 1, rows, up)
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_array_equal(up, UP)


def test_arrays_give_the_same_vote_back(both):
    vote = both[1]
    again = CompiledVote.from_arrays(vote.arrays())
    assert again.probabilities(ROWS).tobytes() == vote.probabilities(ROWS).tobytes()


def test_missing_arrays_are_a_model_error(both):
    arrays = both[1].arrays()
    del arrays["forest.threshold"]
    with pytest.raises(ModelError, match="incomplete"):
        CompiledVote.from_arrays(arrays)


@pytest.mark.slow
def test_nodes_that_point_outside_the_table_are_a_model_error(both):
    arrays = both[1].arrays()
    arrays["forest.left"] = arrays["forest.left"] + 10**6
    with pytest.raises(ModelError, match="outside the table"):
        CompiledVote.from_arrays(arrays)


def test_an_unknown_model_type_names_the_nearest():
    with pytest.raises(UsageError, match="'ensembel' is not known") as caught:
        members_of("ensembel")
    assert caught.value.hint == "Did you mean ensemble?"


def test_columns_that_are_all_unknown_do_not_stop_the_line():
    rows = ROWS.copy()
    rows[:, 3] = np.nan
    chances = ESTIMATORS["logistic_regression"](1).fit(rows, UP).predict_proba(rows)
    assert np.isfinite(chances).all()
