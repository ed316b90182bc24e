"""From registries to features, labels, models and an honest verdict."""
