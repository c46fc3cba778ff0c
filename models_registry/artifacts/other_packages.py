"""Transformers of other packages whose fitted state is plain: dictionaries, lists, texts and numbers.

The code of each was reviewed: with plain state, its `transform` computes only on the rows. Transformers that drop rows,
call a function from their state or store a pandas table are excluded. The packages are optional:
requirements/encoders.txt.
"""

from __future__ import annotations

_MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "feature_engine.encoding": {
        "count_frequency": ("CountFrequencyEncoder",),
        "mean_encoding": ("MeanEncoder",),
        "one_hot": ("OneHotEncoder",),
        "ordinal": ("OrdinalEncoder",),
        "rare_label": ("RareLabelEncoder",),
        "woe": ("WoEEncoder",),
    },
    "feature_engine.imputation": {
        "mean_median": ("MeanMedianImputer",),
        "arbitrary_number": ("ArbitraryNumberImputer",),
        "categorical": ("CategoricalImputer",),
        "end_tail": ("EndTailImputer",),
        "missing_indicator": ("AddMissingIndicator",),
    },
    "feature_engine.outliers": {"winsorizer": ("Winsorizer",), "artbitrary": ("ArbitraryOutlierCapper",)},
    "feature_engine.transformation": {
        "arcsin": ("ArcsinTransformer",),
        "boxcox": ("BoxCoxTransformer",),
        "log": ("LogTransformer", "LogCpTransformer"),
        "power": ("PowerTransformer",),
        "reciprocal": ("ReciprocalTransformer",),
        "yeojohnson": ("YeoJohnsonTransformer",),
    },
    "feature_engine.discretisation": {
        "equal_frequency": ("EqualFrequencyDiscretiser",),
        "equal_width": ("EqualWidthDiscretiser",),
        "arbitrary": ("ArbitraryDiscretiser",),
        "geometric_width": ("GeometricWidthDiscretiser",),
    },
    "feature_engine.selection": {
        "drop_features": ("DropFeatures",),
        "drop_constant_features": ("DropConstantFeatures",),
        "drop_duplicate_features": ("DropDuplicateFeatures",),
        "drop_correlated_features": ("DropCorrelatedFeatures",),
        "drop_psi_features": ("DropHighPSIFeatures",),
        "smart_correlation_selection": ("SmartCorrelatedSelection",),
    },
    "feature_engine.creation": {"cyclical_features": ("CyclicalFeatures",)},
    "feature_engine.scaling": {"mean_normalization": ("MeanNormalizationScaler",)},
}
ENCODERS = tuple(
    f"{package}.{module}.{name}"
    for package, modules in _MODULES.items()
    for module, names in modules.items()
    for name in names
)
# These hold lists of bounds: an integer instead would make pandas create that many bins.
BOUNDS = "binner_dict_"
PACKAGES = {"feature_engine": "feature-engine"}


def missing_package(module: str) -> str:
    """Return how to install the package of `module` if it is one of the optional ones; else an empty string."""
    package = PACKAGES.get(module.partition(".")[0])
    if package is None:
        return ""
    return (
        f"The model needs {package}, which is not installed here. Install it: python3 requirements/install.py .venv "
        'requirements/encoders.txt (the image: --build-arg LOCKS="requirements.txt requirements/encoders.txt").'
    )
