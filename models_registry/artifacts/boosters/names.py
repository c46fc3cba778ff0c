"""Classes of the libraries that files name, and their replacements. This module imports nothing."""

_HERE = "models_registry.artifacts.boosters"
_XGBOOST = f"{_HERE}.xgboost_estimators"
_LIGHTGBM = f"{_HERE}.lightgbm_estimators"

STAND_INS: dict[str, str] = {
    "xgboost.core.Booster": f"{_XGBOOST}.Booster",
    **{
        f"xgboost.sklearn.{name}": f"{_XGBOOST}.{name}"
        for name in ("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")
    },
    "lightgbm.basic.Booster": f"{_LIGHTGBM}.Booster",
    **{f"lightgbm.sklearn.{name}": f"{_LIGHTGBM}.{name}" for name in ("LGBMClassifier", "LGBMRegressor", "LGBMRanker")},
}
# Label encoders that the libraries derive from scikit-learn's, without any change.
LABEL_ENCODERS = {
    "xgboost.compat.XGBoostLabelEncoder": "sklearn.preprocessing._label.LabelEncoder",
    "lightgbm.compat._LGBMLabelEncoder": "sklearn.preprocessing._label.LabelEncoder",
}
