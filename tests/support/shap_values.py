"""Writes the contributions that the package shap gives, with which the tests compare those of the service.

shap needs numba, so it stays out of the development requirements. Run it in an environment of its own that has shap and
the pinned scikit-learn and numpy: `python -m tests.support.shap_values`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import explained

TARGET = Path(__file__).parents[1] / "explanations" / "shap_values.json"
# The values are compared with a tolerance above that.
DIGITS = 12


def main() -> None:
    """Write the file anew."""
    import shap

    found = {}
    for name in explained.TREES:
        explainer = shap.TreeExplainer(explained.fitted(name), feature_perturbation="tree_path_dependent")
        found[name] = _entry(explainer)
    for name in explained.LINEAR:
        zeros = np.zeros((1, explained.FEATURES))
        found[name] = _entry(shap.LinearExplainer(explained.fitted(name), shap.maskers.Independent(zeros)))
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items()]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _entry(explainer: Any) -> dict[str, Any]:
    """Return the expected values and, by row, output and feature, the contributions."""
    values = np.asarray(explainer.shap_values(explained.asked()))
    by_output = values[:, :, None] if values.ndim == 2 else values
    return {
        "base": np.round(np.ravel(explainer.expected_value), DIGITS).tolist(),
        "contributions": np.round(by_output.transpose(0, 2, 1), DIGITS).tolist(),
    }


if __name__ == "__main__":
    main()
