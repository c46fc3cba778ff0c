# ruff: noqa: BLE001, PLW2901
"""Writes fitted estimators of an older scikit-learn, each with its own answers.

    python generate.py FOLDER

Run it with the Python of an environment that holds that version (see README.md). It imports nothing of this project.
Each estimator is written as NAME.joblib, and as NAME.skops where that version of skops can; NAME.json holds the rows
that it was asked about and what it answered. `python -m tools.old_versions` makes the tests' archive of them.
"""

import io
import json
import sys
import warnings
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import scipy.sparse
from default_models import plain
from installed_sklearn import VERSION, multiclass, sklearn, svm
from other_models import inner_parts, others
from table_and_text_models import tables_and_text
from tree_models import trees

ASKED = 12
METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")


def chosen():
    """Yield (name, estimator, arguments of fit, keywords of fit)."""
    yield from trees()
    yield from tables_and_text()
    yield from others()
    yield from inner_parts()


def asked(inputs):
    """Return the first rows of the inputs."""
    return inputs.iloc[:ASKED] if isinstance(inputs, pd.DataFrame) else inputs[:ASKED]


def as_json(value):
    """Return rows or answers as JSON values, exactly."""
    if isinstance(value, pd.DataFrame):
        return {"frame": {name: as_json(value[name].to_numpy())["list"] for name in value.columns}}
    if scipy.sparse.issparse(value):
        return {"sparse": value.toarray().tolist()}
    if isinstance(value, list) and len(value) and isinstance(value[0], np.ndarray):
        return {"arrays": [one.tolist() for one in value]}
    return {"list": value.tolist() if isinstance(value, np.ndarray) else list(value)}


def is_scaled_by_call(estimator):
    """Return whether the scores of one class against one are scaled by the largest of all rows asked (up to 0.20)."""
    kinds = (svm.SVC(), svm.NuSVC(), multiclass.OneVsOneClassifier(svm.SVC()))
    return isinstance(estimator, tuple(map(type, kinds))) and len(estimator.classes_) > 2


def answers(estimator, rows):
    """Return what each method says of the rows."""
    said = {}
    for method in METHODS:
        if method == "decision_function" and VERSION < (0, 21) and is_scaled_by_call(estimator):
            continue
        if hasattr(estimator, method):
            try:
                said[method] = as_json(getattr(estimator, method)(rows))
            except Exception as error:
                print("  no answer:", type(estimator).__name__, method, repr(error)[:80])
    return said


def write_skops(path, estimator):
    """Write a skops file, its parts compressed, which older versions of skops cannot do themselves."""
    import skops.io

    content = io.BytesIO(skops.io.dumps(estimator))
    small = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
    # Nested, because scikit-learn 0.20 and 0.21 need a Python that knows no parentheses here.
    with zipfile.ZipFile(content) as plain_zip, small:
        for member in plain_zip.namelist():
            small.writestr(member, plain_zip.read(member))


def write(folder, name, estimator, rows):
    """Write one estimator in both formats, and what it says."""
    joblib.dump(estimator, folder / (name + ".joblib"), compress=("xz", 9))
    formats = ["joblib"]
    try:
        write_skops(folder / (name + ".skops"), estimator)
        formats.append("skops")
    except Exception as error:
        print("  no skops:", name, repr(error)[:100])
    body = {
        "scikit-learn": sklearn.__version__,
        "formats": formats,
        "rows": as_json(rows),
        "answers": answers(estimator, rows),
    }
    (folder / (name + ".json")).write_text(json.dumps(body) + "\n")


def main():
    """Write what the command line asks for."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for source in (plain, chosen):
            for name, estimator, arguments, keywords in source():
                name = name if source is chosen else name + "-default"
                try:
                    estimator.fit(*arguments, **keywords)
                except Exception as error:
                    print("not fitted:", name, repr(error)[:150])
                    continue
                write(folder, name, estimator, asked(arguments[0]))
                written += 1
    print(sklearn.__version__, written, "written to", folder)


if __name__ == "__main__":
    main()
