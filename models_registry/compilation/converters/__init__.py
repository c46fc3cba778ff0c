"""Converters of scikit-learn's estimators; importing a module registers its converters."""
