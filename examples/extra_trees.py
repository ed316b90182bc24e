"""A new model: extremely randomised trees instead of the three members.

    MODEL_TYPE=examples.extra_trees:extra_trees

One factory: a seed goes in, an unfitted classifier comes out. Training, calibration, licence and
explanation are the same as for the models that come with the program. A model is kept as plain
arrays, never as a pickle; so it has to be made of scikit-learn's trees or of one line.
Source: Geurts, Ernst and Wehenkel (2006), Extremely randomized trees.
"""

from sklearn.ensemble import ExtraTreesClassifier


def extra_trees(seed: int) -> ExtraTreesClassifier:
    """Shallow random trees on a third of the rows each; NaN features are allowed."""
    return ExtraTreesClassifier(
        n_estimators=60, max_depth=7, min_samples_leaf=25, max_features=0.15, bootstrap=True,
        max_samples=0.3, n_jobs=1, random_state=seed,
    )  # fmt: skip
