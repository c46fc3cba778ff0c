"""Decides from an inspection whether an artifact may be loaded."""

from collections.abc import Iterable
from dataclasses import dataclass

from models_registry.artifacts import codes
from models_registry.artifacts.formats.advice import advice, is_dangerous
from models_registry.artifacts.formats.migrations.names import STAND_INS
from models_registry.artifacts.formats.migrations.proven import unproven_parts
from models_registry.artifacts.formats.trusted import (
    BOUND_METHODS,
    JOBLIB_STAND_INS,
    builtin_trust,
    malformed_names,
)
from models_registry.artifacts.inspection import MAX_NAMES, Inspection
from models_registry.artifacts.inspection_notes import versions_text
from models_registry.artifacts.installed import server_versions
from models_registry.artifacts.load_test import LoadTestReport
from models_registry.artifacts.suggestions import shown

_SHOWN_NAMES = 10
_COMPARED = ("scikit-learn", "numpy")
# Estimators and losses in these modules change between scikit-learn versions.
_NAMED_BY_VERSION = ("sklearn._loss.", "sklearn.calibration.", "sklearn.cluster.", "sklearn.compose.",
                     "sklearn.covariance.", "sklearn.cross_decomposition.", "sklearn.decomposition.",
                     "sklearn.ensemble.", "sklearn.feature_extraction.", "sklearn.feature_selection.",
                     "sklearn.gaussian_process.", "sklearn.impute.", "sklearn.linear_model.", "sklearn.metrics.",
                     "sklearn.mixture.", "sklearn.model_selection.", "sklearn.neighbors.", "sklearn.neural_network.",
                     "sklearn.preprocessing.", "sklearn.semi_supervised.", "sklearn.svm.", "sklearn.tree.")  # fmt: skip


def judge(
    inspection: Inspection,
    *,
    trusted: frozenset[str] = frozenset(),
    allow_any_pickle: bool = False,
    max_claimed_bytes: int | None = None,
) -> tuple[str, ...]:
    """Return the reasons against loading the artifact, as sentences; empty if it may be loaded.

    `trusted` holds an operator's own exact names, in addition to the service's. With `allow_any_pickle`, names in a
    joblib file are no reason; its declared memory still is.
    """
    reasons: list[str] = []
    if not (allow_any_pickle and inspection.format == "joblib"):
        # Names first: in a search that stores distributions, the other problems follow from those.
        reasons.extend(_untrusted(inspection, trusted))
        reasons.extend(inspection.problems)
    if max_claimed_bytes is not None and inspection.claimed_bytes > max_claimed_bytes:
        reasons.append(
            f"The artifact needs {inspection.claimed_bytes} bytes of memory; at most {max_claimed_bytes} are allowed. "
            "Publish a smaller model, or raise MODELS_CHECK_MEMORY_MB."
        )
    return tuple(dict.fromkeys(reasons))


def _untrusted(inspection: Inspection, trusted: frozenset[str]) -> Iterable[str]:
    if inspection.format == "onnx":
        return
    malformed = malformed_names(trusted)
    if malformed:
        yield (
            f"MODELS_TRUSTED_GLOBALS holds {shown(malformed)}; expected exact names like package.module.Name. "
            "Correct the setting, restart the service and check the version again."
        )
        return
    trust = builtin_trust().with_additions(trusted)
    own = STAND_INS | (JOBLIB_STAND_INS | BOUND_METHODS if inspection.format == "joblib" else frozenset())
    unknown = [name for name in inspection.globals if name not in trust.all | own]
    # The most severe names first: the advice is about these.
    unknown.sort(key=lambda name: not is_dangerous(name))
    if unknown:
        more = f" and {len(unknown) - _SHOWN_NAMES} more" if len(unknown) > _SHOWN_NAMES else ""
        yield (
            "The artifact uses names that are not on the list of trusted names: "
            f"{', '.join(unknown[:_SHOWN_NAMES])}{more}. {_advice_of_versions(inspection, unknown) or advice(unknown)}"
        )
    runnable = trust.runnable | (own - {"numpy.memmap"})
    only_named = [name for name in inspection.called if name not in runnable and name in trust.all | own]
    if only_named:
        yield (
            f"The artifact calls {', '.join(only_named[:_SHOWN_NAMES])} while it is loaded. Ordinary files mention "
            "these names, but do not call them. Publish it again from its training script."
        )
    if len(inspection.globals) >= MAX_NAMES:
        yield f"The artifact uses {MAX_NAMES} names or more. Publish a smaller pipeline."


def _advice_of_versions(inspection: Inspection, unknown: list[str]) -> str:
    """Return the versions and the next step if another scikit-learn version explains the unknown names; else ""."""
    other = _other_versions(inspection)
    if not other or any(is_dangerous(name) or not name.startswith(_NAMED_BY_VERSION) for name in unknown):
        return ""
    return f"{_mismatch_sentence(inspection, other)} {_retraining()}"


def _retraining() -> str:
    wanted = " ".join(f"{name}=={server_versions()[name]}" for name in _COMPARED)
    return f"Train it again with the server's versions (pip install {wanted}), or publish it as ONNX."


@dataclass(frozen=True, slots=True)
class VersionVerdict:
    """The effect on its predictions of the versions that wrote an artifact.

    `sentence` names the versions that wrote it and those that serve it; empty if they agree. `is_verified`: each part
    of the model is proven to predict the same as under the versions that wrote it.
    """

    sentence: str
    is_verified: bool


def version_verdict(inspection: Inspection) -> VersionVerdict:
    """Return whether the artifact predicts the same under the installed versions as under those that wrote it.

    An ONNX graph contains its own definition, so it predicts the same on every server that can open it.
    """
    other = _other_versions(inspection)
    if not other:
        return VersionVerdict("", is_verified=True)
    # With another numpy, equal scikit-learn versions need a proof as well.
    unproven = unproven_parts(inspection.called, inspection.versions.get("scikit-learn", ("unknown",)))
    if not unproven:
        return VersionVerdict(_verified_sentence(inspection, other), is_verified=True)
    missing = [name for name in unproven if name.startswith("sklearn.")]
    return VersionVerdict(
        _mismatch_sentence(inspection, other)
        + (f" Not verified for these versions: {_listed(missing)}." if missing else ""),
        is_verified=False,
    )


def _other_versions(inspection: Inspection) -> list[str]:
    """Return the packages whose version differs from the one that wrote the artifact, or is unknown."""
    if inspection.format == "onnx":
        return []
    served, trained = server_versions(), inspection.versions
    other = [name for name in _COMPARED if not _agrees(trained.get(name, ()), served[name])]
    if not trained.get("scikit-learn") and _is_scikit_learn(inspection):
        other.insert(0, "scikit-learn")
    return other


def _mismatch_sentence(inspection: Inspection, other: list[str]) -> str:
    return " ".join(
        f"Trained with {_written_by(inspection, name)}, served with {server_versions()[name]}." for name in other
    )


def _verified_sentence(inspection: Inspection, other: list[str]) -> str:
    return " ".join(
        f"Written by {_written_by(inspection, name)}, verified for {server_versions()[name]}." for name in other
    )


def _written_by(inspection: Inspection, name: str) -> str:
    return f"{name} {versions_text(inspection.versions.get(name, ())) or 'of an unknown version'}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"{', '.join(name.rpartition('.')[2] for name in names[:_SHOWN_NAMES])}{more}"


def _is_scikit_learn(inspection: Inspection) -> bool:
    return any(name.startswith("sklearn.") for name in inspection.called)


def _agrees(found: tuple[str, ...], served: str) -> bool:
    return all(_one_agrees(version, served) for version in found)


def _one_agrees(found: str, served: str) -> bool:
    if found.startswith(">="):
        return _number(served) >= _number(found[2:])
    if found.startswith("<"):
        return _number(served) < _number(found[1:])
    return found == served


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def explain_versions(report: LoadTestReport, inspection: Inspection) -> str:
    """Return why a version was rejected; with versions and next step if these are probably the cause."""
    mismatch = _mismatch_sentence(inspection, _other_versions(inspection))
    if not mismatch or report.code not in codes.CAUSED_BY_VERSIONS:
        return report.reason
    # The other advice applies only to equal versions.
    return f"{report.reason.removesuffix(report.advice).strip()} {mismatch} {_retraining()}"
