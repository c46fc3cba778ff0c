"""Asks a live server with MLServer's own codecs, in MLServer's environment; prints what they decoded as JSON."""

import json
import sys

import numpy as np
import pandas as pd
import requests
from mlserver.codecs import (
    NumpyCodec,
    NumpyRequestCodec,
    PandasCodec,
    StringCodec,
)
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RequestOutput,
)

URL = sys.argv[1]
PENGUINS = pd.DataFrame(
    {
        "island": ["Biscoe", "Dream", "Dream"],
        "sex": ["female", "male", "male"],
        "bill_length_mm": [47.5, 49.0, np.nan],
        "bill_depth_mm": [14.2, 19.5, 19.5],
        "flipper_length_mm": [215, 210, 210],
        "body_mass_g": [5000.0, 3950.0, 3950.0],
    }
)
ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])


def ask(model: str, request: InferenceRequest) -> InferenceResponse:
    """Return the answer, held against MLServer's own type."""
    # Its null is a missing value, so nothing may be left out but what is None in the request's own fields.
    body = request.model_dump_json(exclude_unset=True)
    answer = requests.post(f"{URL}/v2/models/{model}/infer", data=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return InferenceResponse.model_validate(answer.json())


def main() -> None:
    """Encode, ask, decode."""
    found = {}
    for name, use_bytes in (("pandas", True), ("pandas as text", False)):
        response = ask("penguins", PandasCodec.encode_request(PENGUINS, use_bytes=use_bytes))
        found[name] = StringCodec.decode_output(response.outputs[0])
    found["pandas' own decoding"] = PandasCodec.decode_response(response).to_dict(orient="list")

    request = NumpyRequestCodec.encode_request(ROWS)
    request.outputs = [RequestOutput(name="predict"), RequestOutput(name="predict_proba")]
    response = ask("plain", request)
    outputs = {output.name: output for output in response.outputs}
    found["numpy"] = NumpyCodec.decode_output(outputs["predict"]).tolist()
    found["probabilities"] = NumpyCodec.decode_output(outputs["predict_proba"]).tolist()
    found["numpy request"] = NumpyRequestCodec.decode_response(ask("plain", NumpyRequestCodec.encode_request(ROWS)))
    found["numpy request"] = found["numpy request"].tolist()
    single = InferenceRequest(inputs=[NumpyCodec.encode_input("anything", ROWS)])
    found["numpy input"] = NumpyCodec.decode_output(ask("plain", single).outputs[0]).tolist()

    server = MetadataServerResponse.model_validate(requests.get(f"{URL}/v2", timeout=30).json())
    model = MetadataModelResponse.model_validate(requests.get(f"{URL}/v2/models/penguins", timeout=30).json())
    found["server"] = server.name
    found["inputs"] = [item.name for item in model.inputs]
    found["content type"] = model.parameters.content_type
    refused = requests.post(f"{URL}/v2/models/penguins/infer", data='{"inputs": []}', timeout=30)
    found["error"] = InferenceErrorResponse.model_validate(refused.json()).error
    print(json.dumps(found))


if __name__ == "__main__":
    main()
