"""The rows and targets that the estimators are fitted to."""

import numpy as np
import pandas as pd

ROWS = 60
rng = np.random.RandomState(0)
X = np.abs(rng.normal(size=(ROWS, 4))) + 0.1
CLASSES = (X[:, 0] > np.median(X[:, 0])).astype(int)
THREE = np.arange(ROWS) % 3
TARGET = X[:, 0] * 2 + X[:, 1]
WEIGHTS = rng.uniform(0.5, 3, ROWS)
GAPS = np.where(np.quantile(X, 0.9) < X, np.nan, X)
TEXTS = ["the cat sat on", "a dog sat", "the dog and the cat", "dogs and cats", "a mat"] * (ROWS // 5)
# Told by the words: where no class is likelier than another, the last bit of a score decides.
TOPICS = np.array([0, 1, 2, 2, 0] * (ROWS // 5))
RECORDS = [{"age": 1.0, "city": "Oslo"}, {"age": 2.0, "city": "Rome"}, {"age": 4.0, "city": "Rome"}] * (ROWS // 3)
FRAME = pd.DataFrame(
    {"age": GAPS[:, 0], "income": X[:, 1], "city": (["Oslo", "Rome", "Bern"] * ROWS)[:ROWS],
     "size": (["S", "M", "L", "L"] * ROWS)[:ROWS]}
)  # fmt: skip
