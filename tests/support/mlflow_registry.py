"""Fills a real MLflow server, in its own environment: `mlflow_registry.py ADDRESS NAME`.

It logs and registers two models, with a metric: version 1 answers its feature plus 10, and is kept as skops; version 2
answers it plus 20, and is kept by cloudpickle.
"""

import sys

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

address, name = sys.argv[1:3]
mlflow.set_tracking_uri(address)
rows = pd.DataFrame({"height": [1.0, 2.0, 3.0]})
for offset, kind in ((10, "skops"), (20, "cloudpickle")):
    model = LinearRegression().fit(rows, rows["height"] + offset)
    with mlflow.start_run():
        mlflow.log_metric("rmse", 0.25)
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(rows, model.predict(rows)),
            input_example=rows.head(2),
            registered_model_name=name,
            serialization_format=kind,
            # Else it asks package indexes what the model needs.
            pip_requirements=["scikit-learn"],
        )
