"""The row and the column behind "could not convert string to float"."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models_registry.artifacts.prediction import call
from models_registry.errors import InputError


class Numeric:
    """Takes whatever numpy takes for numbers."""

    def predict(self, rows):
        return np.asarray(rows)[:, 1:].astype(float).sum(axis=1)


ROWS = [["Oslo", 1.5], ["Rome", "ban'ana"]]
FRAME = pd.DataFrame(ROWS, columns=["city", "amount"])
OBJECTS = np.array(ROWS, dtype=object)
CONTAINERS = {
    "frame": (FRAME, "Row 1, feature 'amount': expected"),
    "array of objects": (OBJECTS, "Row 1, feature 1 (counted from 0): expected"),
    "array of texts": (OBJECTS.astype(str), "Row 1, feature 1 (counted from 0): expected"),
    "the same text in another column": (FRAME.assign(city="ban'ana"), "Expected"),
}


@pytest.mark.parametrize(("rows", "begins"), CONTAINERS.values(), ids=CONTAINERS)
def test_text_that_is_no_number_is_located(rows, begins):
    with pytest.raises(InputError) as error:
        call(Numeric(), rows)
    assert str(error.value).startswith(begins)
    assert 'found the string "ban\'ana". Send the kind of value' in str(error.value)


def test_another_error_of_the_model_stays_its_own():
    class Failing:
        def predict(self, rows):
            raise ValueError("rows of 3 features expected")

    with pytest.raises(ValueError, match="^rows of 3 features expected$"):
        call(Failing(), FRAME)
