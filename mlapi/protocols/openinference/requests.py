"""Parses an inference request: tensors from JSON and from the bytes after it, and the requested outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlapi.protocols.base import Call, HttpError
from mlapi.protocols.json_bodies import read_object
from mlapi.protocols.openinference.tensors import (
    DATATYPES,
    DTYPES,
    Tensor,
    bad_tensor,
    from_bytes,
    from_json,
    read_shape,
)
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.prediction import outputs_of
from models_registry.artifacts.schema import Schema

HEADER_LENGTH = "Inference-Header-Content-Length"
EXAMPLE = '{"inputs": [{"name": …, "shape": [1, 4], "datatype": "FP64", "data": […]}]}'
CONTENT_TYPES = ("np", "pd", "str")
# Name and datatype of the one tensor of a model without named features.
MATRIX = "input"
MATRIX_DATATYPE = "FP64"


@dataclass(frozen=True, slots=True)
class Output:
    """A requested output, and whether its values follow the JSON as bytes."""

    name: str
    is_binary: bool


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed request: input tensors and output names. No `outputs` means the default output."""

    tensors: tuple[Tensor, ...]
    outputs: tuple[Output, ...]
    id: str | None = None
    content_type: str | None = None
    is_binary_by_default: bool = False
    ignores_extra: bool = False


def read_request(call: Call, schema: Schema) -> InferRequest:
    """Return the request in `call`; HttpError 400 if it is invalid."""
    header, rest = split(call)
    if not header and rest:
        return _raw_request(rest, schema)
    body = read_object(header, example=EXAMPLE)
    parameters = parameters_of(body, "the request")
    by_default = flag(parameters, "binary_data_output", default=False)
    request_id = body.get("id")
    if request_id is not None and type(request_id) is not str:
        raise invalid("id", f"'id' must be a string, found {describe_value(request_id)}.")
    content_type = parameters.get("content_type")
    if content_type is not None and content_type not in CONTENT_TYPES:
        raise unknown_content_type(content_type, "the request")
    if flag(parameters, "explain", default=False):
        # A response without contributions would look like a model that has none.
        raise invalid(
            "parameters",
            "Explanations are not part of this protocol. Omit 'explain', or send '\"explain\": true' to "
            "POST /models/{name}/predict.",
        )
    outputs = _outputs(body, by_default=by_default)
    if flag(parameters, "return_std", default=False):
        outputs = (*(outputs or (Output("predict", by_default),)), Output("std", by_default))
    return InferRequest(
        tensors=_tensors(body, rest),
        outputs=tuple(dict.fromkeys(outputs)),
        id=request_id,
        content_type=content_type,
        is_binary_by_default=by_default,
        ignores_extra=flag(parameters, "ignore_extra", default=False),
    )


def split(call: Call) -> tuple[bytes | memoryview, memoryview]:
    """Return the JSON and the bytes that follow it."""
    length = call.headers.get(HEADER_LENGTH)
    if length is None:
        return call.body, memoryview(b"")
    text = length.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= len(call.body)):
        raise invalid(
            HEADER_LENGTH,
            f"{HEADER_LENGTH} must be the number of bytes of the JSON, before compression and at most the "
            f"{len(call.body)} of the body; found {text[:40]!r}.",
        )
    view = memoryview(call.body)
    return view[: int(text)], view[int(text) :]


def _raw_request(raw: memoryview, schema: Schema) -> InferRequest:
    """Return the request of a body that is only the values of one tensor."""
    dtype = DTYPES[MATRIX_DATATYPE]
    width = len(schema.inputs)
    if schema.container != "array" or len(raw) % (dtype.itemsize * width):
        raise invalid(
            HEADER_LENGTH,
            f"{HEADER_LENGTH} is 0: the body must be rows of {width} {MATRIX_DATATYPE} values for a model that takes "
            f"only numbers; found {len(raw)} bytes.",
        )
    shape = (len(raw) // (dtype.itemsize * width), width)
    return InferRequest((from_bytes(MATRIX, MATRIX_DATATYPE, shape, raw),), (), is_binary_by_default=True)


def _tensors(body: Mapping[str, Any], rest: memoryview) -> tuple[Tensor, ...]:
    inputs = body.get("inputs")
    if type(inputs) is not list or not inputs:
        raise invalid("inputs", f"'inputs' must be a list of tensors, found {_or_nothing(inputs)}.")
    found: dict[str, Tensor] = {}
    position = 0
    for index, item in enumerate(inputs):
        tensor, size = _tensor(item, index, rest[position:])
        position += size
        if tensor.name in found:
            raise bad_tensor(tensor.name, "appears twice; send it once")
        found[tensor.name] = tensor
    if position != len(rest):
        raise invalid(
            "inputs", f"{len(rest)} bytes follow the JSON, but the inputs' 'binary_data_size' add up to {position}."
        )
    return tuple(found.values())


def _tensor(item: Any, index: int, rest: memoryview) -> tuple[Tensor, int]:
    """Return a tensor, and the number of its bytes in `rest`."""
    if type(item) is not dict:
        raise invalid("inputs", f"Input {index} must be an object, found {describe_value(item)}.")
    name, datatype = item.get("name"), item.get("datatype")
    if type(name) is not str or not name:
        raise invalid("inputs", f"Input {index}: 'name' must be a string, found {_or_nothing(name)}.")
    if datatype not in DATATYPES:
        raise bad_tensor(name, f"'datatype' must be one of {', '.join(DATATYPES)}, found {_or_nothing(datatype)}")
    shape = read_shape(item.get("shape"), name)
    parameters = parameters_of(item, f"input {name[:200]!r}")
    if "shared_memory_region" in parameters:
        raise bad_tensor(name, "shared memory is not served; send the values")
    content_type = parameters.get("content_type")
    if content_type is not None and content_type not in CONTENT_TYPES:
        raise unknown_content_type(content_type, f"input {name[:200]!r}")
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in item:
            raise bad_tensor(name, "has neither 'data' nor the parameter 'binary_data_size'")
        return from_json(name, datatype, shape, item["data"]), 0
    if "data" in item:
        raise bad_tensor(name, "has 'data' and 'binary_data_size'; send one of them")
    if type(size) is not int or size < 0:
        raise bad_tensor(name, f"'binary_data_size' must be a number of bytes, found {describe_value(size)}")
    if size > len(rest):
        raise bad_tensor(
            name,
            f"'binary_data_size' is {size}, but {len(rest)} bytes are left after the JSON; the header {HEADER_LENGTH} "
            "gives the length of the JSON",
        )
    return from_bytes(name, datatype, shape, rest[:size]), size


def _outputs(body: Mapping[str, Any], *, by_default: bool) -> tuple[Output, ...]:
    outputs = body.get("outputs")
    if outputs is None:
        return ()
    if type(outputs) is not list:
        raise invalid("outputs", f"'outputs' must be a list, found {describe_value(outputs)}.")
    found: dict[str, Output] = {}
    for index, item in enumerate(outputs):
        if type(item) is not dict or type(item.get("name")) is not str:
            raise invalid("outputs", f"Output {index} must be an object with a 'name'.")
        name = item["name"]
        parameters = parameters_of(item, f"output {name[:200]!r}")
        for extension in ("classification", "shared_memory_region"):
            if extension in parameters:
                raise invalid("outputs", f"Output {name[:200]!r}: the parameter {extension!r} is not served.")
        if name in found:
            raise invalid("outputs", f"Output {name[:200]!r} appears twice; ask for it once.")
        found[name] = Output(name, flag(parameters, "binary_data", default=by_default))
    # A method's name may stand for the arrays that the method returns.
    return tuple(replace(item, name=name) for item in found.values() for name in outputs_of(item.name))


def parameters_of(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an object's parameters; empty without any."""
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise invalid("parameters", f"'parameters' of {where} must be an object, found {describe_value(parameters)}.")
    return parameters


def flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Return a boolean parameter."""
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise invalid("parameters", f"The parameter {name!r} must be true or false, found {describe_value(value)}.")
    return value


def invalid(field: str, message: str) -> HttpError:
    """Return the error for an invalid request."""
    return HttpError(400, "invalid_request", message, field=field)


def unknown_content_type(value: Any, where: str) -> HttpError:
    """Return the error for an unsupported content type."""
    return invalid(
        "parameters",
        f"The content type of {where} must be one of {', '.join(CONTENT_TYPES)}, found {describe_value(value)}.",
    )


def _or_nothing(value: Any) -> str:
    return "nothing" if value is None else describe_value(value)
