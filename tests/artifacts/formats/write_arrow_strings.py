"""Writes arrow_strings.zip: files of a machine that has pyarrow, which this project's own environments lack.

Run it where pandas, joblib, scikit-learn and pyarrow are: `uv run --with-requirements requirements.txt --with pyarrow`.
"""

import io
import pickle
import zipfile
from pathlib import Path

import joblib
import pandas as pd
import pyarrow as pa
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

TEXTS = pd.Series(["x", "", None, "åß∂", "y" * 300] * 5, dtype="str")
ARRAYS = {
    "unique": TEXTS.unique(),
    "slice": TEXTS.array[3:17],
    "empty": TEXTS.array[:0],
    "chunks": pd.concat([TEXTS, TEXTS]).array,
    "index": pd.Index(TEXTS.unique()),
    "nullable": pd.array(["a", None], dtype="string[pyarrow]"),
    "short offsets": pd.Series(["a", "b"], dtype=pd.ArrowDtype(pa.string())).astype("str").array,
}


def main() -> None:
    """Write each array in each protocol of pickle, and two pipelines by joblib."""
    with zipfile.ZipFile(Path(__file__).with_name("arrow_strings.zip"), "w", zipfile.ZIP_DEFLATED) as target:
        for name, array in ARRAYS.items():
            assert array.dtype.storage == "pyarrow"
            for protocol in range(6):
                target.writestr(f"{name}.{protocol}.pkl", pickle.dumps(array, protocol))
        frame = pd.DataFrame({"team": ["a", "b", "c", "a"] * 5, "size": range(20)})
        for name, chosen in {"index": frame.select_dtypes("str").columns, "list": ["team"]}.items():
            encoder = make_column_transformer((OneHotEncoder(categories=[frame.team.unique()]), chosen))
            content = io.BytesIO()
            joblib.dump(make_pipeline(encoder, LogisticRegression()).fit(frame, [0, 1, 1, 0] * 5), content)
            target.writestr(f"pipeline-{name}.joblib", content.getvalue())


if __name__ == "__main__":
    main()
