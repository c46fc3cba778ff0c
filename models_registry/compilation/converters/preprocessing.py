"""Converters of numeric transformers."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.compilation.context import Context, Tensor, Unsupported, Value, transforms
from models_registry.compilation.graph import Array, Graph

FUNCTIONS = {"log": "Log", "exp": "Exp", "sqrt": "Sqrt", "absolute": "Abs", "fabs": "Abs", "tanh": "Tanh"}
# The domains in which these functions are finite.
SMALLEST = float(np.finfo(np.float64).smallest_subnormal)
LOWEST = {"log": SMALLEST, "log1p": float(np.nextafter(-1.0, 0.0)), "sqrt": 0.0}


def _shifted_and_scaled(context: Context, value: Value, shift: Any, scale: Any) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    name = tensor.name
    if shift is not None and scale is not None:
        # The range of the training rows: verification draws rows there.
        for distance in (-1.0, 0.0, 1.0):
            context.remember_thresholds(tensor, np.arange(tensor.width), shift + distance * scale)
    if shift is not None:
        name = graph.subtract(name, graph.constant(shift))
    if scale is not None:
        name = graph.divide(name, graph.constant(scale))
    return Tensor(name, tensor.width)


@transforms("StandardScaler")
def _standard(context: Context, scaler: Any, value: Value) -> Tensor:
    return _shifted_and_scaled(
        context, value, scaler.mean_ if scaler.with_mean else None, scaler.scale_ if scaler.with_std else None
    )


@transforms("RobustScaler")
def _robust(context: Context, scaler: Any, value: Value) -> Tensor:
    return _shifted_and_scaled(
        context,
        value,
        scaler.center_ if scaler.with_centering else None,
        scaler.scale_ if scaler.with_scaling else None,
    )


@transforms("MaxAbsScaler")
def _max_abs(context: Context, scaler: Any, value: Value) -> Tensor:
    scaled = _shifted_and_scaled(context, value, None, scaler.scale_)
    if not getattr(scaler, "clip", False):
        return scaled
    return Tensor(_clipped(context.graph, scaled.name, -1.0, 1.0), scaled.width)


@transforms("MinMaxScaler")
def _min_max(context: Context, scaler: Any, value: Value) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    name = graph.add(graph.multiply(tensor.name, graph.constant(scaler.scale_)), graph.constant(scaler.min_))
    if scaler.clip:
        name = _clipped(graph, name, *map(float, scaler.feature_range))
    return Tensor(name, tensor.width)


def _clipped(graph: Graph, name: str, lowest: float, highest: float) -> str:
    return graph.op("Clip", name, graph.constant(lowest), graph.constant(highest))


@transforms("Normalizer")
def _normalizer(context: Context, normalizer: Any, value: Value) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    size = graph.op("Abs", tensor.name)
    if normalizer.norm == "l1":
        norm = graph.total(size, 1, keep=True)
    elif normalizer.norm == "l2":
        norm = graph.op("Sqrt", graph.total(graph.multiply(size, size), 1, keep=True))
    else:
        norm = graph.highest(size)
    is_zero = graph.op("Equal", norm, graph.constant(0.0))
    return Tensor(graph.divide(tensor.name, graph.where(is_zero, graph.constant(1.0), norm)), tensor.width)


@transforms("Binarizer")
def _binarizer(context: Context, binarizer: Any, value: Value) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    above = graph.op("Greater", tensor.name, graph.constant(float(binarizer.threshold)))
    return Tensor(graph.as_float64(above), tensor.width)


@transforms("SimpleImputer")
def _imputer(context: Context, imputer: Any, value: Value) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    missing = _is_missing(graph, tensor.name, imputer.missing_values)
    statistics = np.asarray(imputer.statistics_, dtype=np.float64)
    name = graph.where(missing, graph.constant(statistics), tensor.name)
    kept = np.flatnonzero(~np.isnan(statistics))
    width = tensor.width
    if len(kept) < width and not imputer.keep_empty_features:
        name, width = graph.take(name, kept), len(kept)
    elif len(kept) < width:
        raise Unsupported("an imputer that keeps empty features has no compiled form here")
    if not imputer.add_indicator:
        return Tensor(name, width)
    features = np.asarray(imputer.indicator_.features_)
    marks = graph.as_float64(graph.take(graph.as_int64(missing), features))
    return Tensor(graph.concat([name, marks]), width + len(features))


@transforms("MissingIndicator")
def _missing_indicator(context: Context, indicator: Any, value: Value) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    marks = graph.as_int64(_is_missing(graph, tensor.name, indicator.missing_values))
    features = np.asarray(indicator.features_)
    return Tensor(graph.as_float64(graph.take(marks, features)), len(features))


def _is_missing(graph: Graph, name: str, marker: Any) -> str:
    if marker is None or (isinstance(marker, float) and np.isnan(marker)) or type(marker).__name__ == "NAType":
        return graph.op("IsNaN", name)
    if isinstance(marker, str):
        raise Unsupported("an imputer of numbers that marks missing values by a string has no compiled form here")
    return graph.op("Equal", name, graph.constant(float(marker)))


@transforms("PolynomialFeatures")
def _polynomial(context: Context, polynomial: Any, value: Value) -> Tensor:
    """Multiply, for every output, as many columns as the degree; a column of ones pads shorter products."""
    graph, tensor = context.graph, context.tensor(value)
    powers: Array = polynomial.powers_
    factors = [np.repeat(np.arange(tensor.width), row) for row in powers]
    depth = max(1, *map(len, factors))
    table = np.full((depth, len(factors)), tensor.width)
    for position, columns in enumerate(factors):
        table[: len(columns), position] = columns
    zero = graph.multiply(graph.take(tensor.name, [0]), graph.constant(0.0))
    beside = graph.concat([tensor.name, graph.add(zero, graph.constant(1.0))])
    name = graph.take(beside, table[0])
    for columns in table[1:]:
        name = graph.multiply(name, graph.take(beside, columns))
    context.needs(16 * len(factors))
    return Tensor(name, len(factors))


@transforms("PCA", "TruncatedSVD")
def _projection(context: Context, projection: Any, value: Value) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    name = tensor.name
    mean = getattr(projection, "mean_", None)
    if mean is not None:
        name = graph.subtract(name, graph.constant(mean))
    name = graph.matmul(name, graph.constant(projection.components_.T))
    if getattr(projection, "whiten", False):
        scale = np.sqrt(projection.explained_variance_)
        tiny = np.finfo(scale.dtype).eps
        name = graph.divide(name, graph.constant(np.where(scale < tiny, tiny, scale)))
    return Tensor(name, len(projection.components_))


@transforms(
    "VarianceThreshold", "SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFwe",
    "GenericUnivariateSelect", "SelectFromModel", "SequentialFeatureSelector", "RFE", "RFECV",
)  # fmt: skip
def _selection(context: Context, selector: Any, value: Value) -> Tensor:
    kept = np.asarray(selector.get_support(indices=True))
    tensor = context.tensor(value)
    sources = None if tensor.sources is None else tuple(tensor.sources[index] for index in kept)
    return Tensor(context.graph.take(tensor.name, kept), len(kept), sources)


@transforms("KBinsDiscretizer")
def _bins(context: Context, bins: Any, value: Value) -> Tensor:
    graph, tensor = context.graph, context.tensor(value)
    inner = [np.asarray(edges)[1:-1] for edges in bins.bin_edges_]
    widest = max(1, *map(len, inner))
    edges = np.full((tensor.width, widest), np.inf)
    for position, row in enumerate(inner):
        edges[position, : len(row)] = row
        context.remember_thresholds(tensor, np.full(len(row), position), row)
    context.needs(16 * edges.size)
    apart = graph.op("Unsqueeze", tensor.name, graph.constant([2], np.int64))
    reached = graph.as_float64(graph.op("GreaterOrEqual", apart, graph.constant(edges)))
    codes = graph.total(reached, 2, keep=False)
    if bins.encode == "ordinal":
        return Tensor(codes, tensor.width)
    counts = np.asarray(bins.n_bins_)
    columns = np.repeat(np.arange(tensor.width), counts)
    wanted = np.concatenate([np.arange(count) for count in counts]).astype(float)
    equal = graph.op("Equal", graph.take(codes, columns), graph.constant(wanted))
    return Tensor(graph.as_float64(equal), len(columns))


@transforms("PowerTransformer")
def _power(context: Context, power: Any, value: Value) -> Tensor:
    if power.method != "yeo-johnson":
        raise Unsupported(
            "a Box-Cox transformer, which refuses numbers that are not positive, has no compiled form here"
        )
    tensor = context.tensor(value)
    bent = Tensor(_yeo_johnson(context.graph, tensor.name, np.asarray(power.lambdas_)), tensor.width)
    return _standard(context, power._scaler, bent) if power.standardize else bent


def _yeo_johnson(graph: Graph, name: str, exponents: Array) -> str:
    zero, one = graph.constant(0.0), graph.constant(1.0)
    above = _raised(graph, graph.add(graph.op("Max", name, zero), one), exponents)
    below = _raised(graph, graph.subtract(one, graph.op("Min", name, zero)), 2.0 - exponents)
    bent = graph.where(graph.op("GreaterOrEqual", name, zero), above, graph.op("Neg", below))
    return graph.where(graph.op("IsNaN", name), name, bent)


def _raised(graph: Graph, base: str, exponents: Array) -> str:
    """Return (baseᵉ - 1) / e for each column, and its limit, the logarithm, if e is zero: Box and Cox, 1964."""
    is_zero = np.abs(exponents) < np.finfo(np.float64).eps
    safe = np.where(is_zero, 1.0, exponents)
    risen = graph.subtract(graph.op("Pow", base, graph.constant(safe)), graph.constant(1.0))
    curved = graph.divide(risen, graph.constant(safe))
    if not is_zero.any():
        return curved
    return graph.where(graph.constant(is_zero, np.bool_), graph.op("Log", base), curved)


@transforms("FunctionTransformer")
def _function(context: Context, transformer: Any, value: Value) -> Tensor:
    function, tensor = transformer.func, context.tensor(value)
    inner = getattr(function, "func", function)
    # Histogram boosting checks its numbers with a FunctionTransformer.
    if function is None or getattr(inner, "__module__", "") == "sklearn.utils.validation":
        return tensor
    graph = context.graph
    if isinstance(function, np.ufunc) and not transformer.kw_args:
        if function.__name__ in LOWEST:
            for source in tensor.sources or ():
                context.lowest[source] = max(LOWEST[function.__name__], context.lowest.get(source, -np.inf))
        if function.__name__ in FUNCTIONS:
            return Tensor(graph.op(FUNCTIONS[function.__name__], tensor.name), tensor.width)
        if function.__name__ == "log1p":
            return Tensor(graph.op("Log", graph.add(tensor.name, graph.constant(1.0))), tensor.width)
        if function.__name__ in {"square", "expm1"}:
            squared = graph.multiply(tensor.name, tensor.name)
            raised = graph.subtract(graph.op("Exp", tensor.name), graph.constant(1.0))
            return Tensor(squared if function.__name__ == "square" else raised, tensor.width)
    raise Unsupported(f"the function {getattr(function, '__name__', function)!r} has no compiled form here")
