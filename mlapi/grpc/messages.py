"""Converts between gRPC messages and the protocol's HTTP form, which the request pipeline handles."""

from __future__ import annotations

from typing import Any

import orjson

from mlapi.grpc import open_inference_pb2 as pb
from mlapi.protocols.base import HttpError, Reply
from mlapi.protocols.openinference.requests import HEADER_LENGTH

# The field of InferTensorContents for each datatype; FP16 has no field.
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def http_body(request: Any) -> tuple[bytes, int]:
    """Return a ModelInferRequest as an HTTP body, and the length in bytes of the JSON at its start.

    Raw contents follow the JSON unchanged. Raises HttpError 400 if the raw contents do not match the inputs, if an
    input has both kinds of contents, and for contents that JSON cannot represent.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise HttpError(
            400,
            "invalid_request",
            f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs; expected one for each.",
        )
    content: dict[str, Any] = {
        "parameters": {"binary_data_output": bool(raw), **_parameters(request.parameters)},
        "inputs": [_input(item, raw[index] if raw else None) for index, item in enumerate(request.inputs)],
    }
    if request.id:
        content["id"] = request.id
    if request.outputs:
        content["outputs"] = [{"name": item.name, "parameters": _output_parameters(item)} for item in request.outputs]
    header = orjson.dumps(content)
    return b"".join((header, *raw)), len(header)


def _input(item: Any, raw: bytes | None) -> dict[str, Any]:
    described = {"name": item.name, "datatype": item.datatype, "shape": list(item.shape)}
    parameters = _parameters(item.parameters)
    if raw is not None:
        if item.HasField("contents"):
            raise HttpError(
                400,
                "invalid_request",
                f"Input {item.name[:200]!r} has 'contents', and the request has raw_input_contents; send one of them.",
            )
        return {**described, "parameters": {**parameters, "binary_data_size": len(raw)}}
    field = CONTENTS.get(item.datatype)
    if field is None:
        raise HttpError(
            400,
            "invalid_tensor",
            f"Input {item.name[:200]!r}: contents of the datatype {item.datatype[:40]!r} cannot be sent. Send it in "
            f"raw_input_contents, or one of {', '.join(CONTENTS)}.",
        )
    values = list(getattr(item.contents, field))
    try:
        data = [value.decode() for value in values] if field == "bytes_contents" else values
    except UnicodeDecodeError:
        raise HttpError(400, "invalid_tensor", f"Input {item.name[:200]!r}: a string is not valid UTF-8.") from None
    return {**described, "parameters": parameters, "data": data}


def _output_parameters(item: Any) -> dict[str, Any]:
    # The kind of the request's contents decides whether all outputs are raw.
    return {name: value for name, value in _parameters(item.parameters).items() if name != "binary_data"}


def _parameters(held: Any) -> dict[str, Any]:
    return {
        name: getattr(value, choice)
        for name, value in held.items()
        if (choice := value.WhichOneof("parameter_choice")) is not None
    }


def infer_response(reply: Reply) -> Any:
    """Return the ModelInferResponse for an HTTP reply with status 200."""
    lengths = [value for name, value in reply.headers if name == HEADER_LENGTH]
    split = int(lengths[0]) if lengths else len(reply.body)
    content = orjson.loads(reply.body[:split])
    response = pb.ModelInferResponse(
        model_name=content["model_name"], model_version=content["model_version"], id=content.get("id") or ""
    )
    _set_parameters(response.parameters, content.get("parameters") or {})
    position = split
    for item in content["outputs"]:
        output = response.outputs.add(name=item["name"], datatype=item["datatype"], shape=item["shape"])
        parameters = item.get("parameters") or {}
        size = parameters.pop("binary_data_size", None)
        _set_parameters(output.parameters, parameters)
        if size is None:
            values = item["data"]
            field = CONTENTS[item["datatype"]]
            getattr(output.contents, field).extend(
                [value.encode() for value in values] if field == "bytes_contents" else values
            )
        else:
            response.raw_output_contents.append(reply.body[position : position + size])
            position += size
    return response


def _set_parameters(target: Any, parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        if isinstance(value, bool):
            target[name].bool_param = value
        elif isinstance(value, int):
            target[name].int64_param = value
        elif isinstance(value, float):
            target[name].double_param = value
        else:
            target[name].string_param = value if isinstance(value, str) else orjson.dumps(value).decode()


def metadata_response(reply: Reply) -> Any:
    """Return the ModelMetadataResponse for an HTTP reply with status 200."""
    content = orjson.loads(reply.body)
    response = pb.ModelMetadataResponse(
        name=content["name"], versions=content["versions"], platform=content["platform"]
    )
    for kind in ("inputs", "outputs"):
        for item in content[kind]:
            getattr(response, kind).add(name=item["name"], datatype=item["datatype"], shape=item["shape"])
    return response
