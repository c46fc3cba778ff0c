"""Sends requests with MLflow's own scoring client, in its environment; prints the answers as JSON."""

import json
import sys

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

HOST, PORT = sys.argv[1], sys.argv[2]
ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
PENGUINS = pd.DataFrame(
    {
        "sex": ["female", "male", "male"],
        "island": ["Biscoe", "Dream", "Dream"],
        "bill_length_mm": [47.5, 49.0, np.nan],
        "bill_depth_mm": [14.2, 19.5, 19.5],
        "flipper_length_mm": [215, 210, 210],
        "body_mass_g": [5000.0, 3950.0, 3950.0],
    }
)


def main() -> None:
    """Ask in every way that the client has."""
    found = {}
    default = ScoringServerClient(HOST, PORT)
    default.wait_server_ready(timeout=30)
    default.ping()
    found["version"] = default.get_version()
    # The client has one address for all: what stands behind the port is the model's.
    digits = ScoringServerClient(HOST, f"{PORT}/models/digits")
    found["array"] = digits.invoke(np.zeros((2, 64))).get_predictions("ndarray").tolist()
    found["frame without names"] = digits.invoke(pd.DataFrame(np.zeros((2, 64)))).get_predictions().shape
    penguins = ScoringServerClient(HOST, f"{PORT}/models/penguins")
    found["frame"] = penguins.invoke(PENGUINS).get_predictions()[0].tolist()
    found["records"] = penguins.invoke(json.dumps({"dataframe_records": PENGUINS.head(1).to_dict("records")}))
    found["params"] = penguins.invoke(PENGUINS.head(1), params={"top_k": 1})
    try:
        penguins.invoke(PENGUINS.drop(columns="sex"))
    except Exception as error:  # noqa: BLE001 - that is what the client raises
        found["error"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
