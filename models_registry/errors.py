"""Every error that the registry raises on purpose.

RegistryError
├── StorageError               the storage cannot answer
│   ├── StorageUnavailable     not reached, or not within the deadline; worth a retry
│   ├── StorageDenied          reached, and refused
│   ├── ObjectMissing          the object, or that version of it, does not exist
│   ├── StorageMismatch        it is not the storage of the service that shares the database
│   └── DiskUnavailable        this machine's disk cannot store the bytes; worth a retry
├── ArtifactError              the file may not be served
│   ├── UnsupportedFormat      its file name ends in no known format
│   ├── DigestMismatch         its bytes are not the registered ones
│   ├── ManifestError          its manifest cannot be read
│   ├── UntrustedArtifact      it names code that is not on the list of trusted names
│   ├── BrokenArtifact         it cannot be read or loaded
│   ├── UnsafeStructure        its arrays would crash or hang a prediction
│   ├── NoPrediction           it loads, but cannot predict
│   ├── SignatureError         its signature is missing or wrong
│   └── SampleMismatch         its predictions for its own sample differ from the expected ones
├── RequestError               the request cannot be carried out
│   ├── InvalidName            a model's name that does not fit a URL
│   ├── UnknownModel           no model of that name
│   ├── UnknownVersion         no version of that number
│   ├── NotActivatable         its state, or its verdict, forbids it
│   ├── NothingToRollBackTo    no version was active before
│   ├── NotSplittable          the traffic cannot be split as asked
│   ├── NotShadowable          the version cannot be a shadow
│   ├── NotDeletable           the version is not rejected, or is in use
│   ├── NoCanary               no canary is running
│   ├── UnknownReplay          no replay of that number
│   ├── NotExplainable         contributions to its answers are not known exactly
│   ├── UnknownKey             no API key in use has that name or prefix
│   ├── ScoringRefused         a batch scoring job cannot begin or continue as it was asked
│   └── UnknownBatch           no batch scoring job of that number
├── Busy                       this machine already runs too many such tasks; worth a retry
├── ActivationConflict         another activation of the model came first
├── ModelArchived              the model is archived; a user can restore it
└── InputError                 a prediction's input; says row, feature, expected, found

docs/operations.md lists the retries and their pauses.

Each message states the problem, the value found, the value expected, and the next step. The modules `delivery`,
`parquet` and `storage.notifications` have their own errors.
"""


class RegistryError(Exception):
    """The root: everything that the registry refuses with a sentence."""


class StorageError(RegistryError):
    """The storage cannot answer."""


class StorageUnavailable(StorageError):
    """The storage was not reached, or not within the deadline; a retry may succeed."""


class StorageDenied(StorageError):
    """The storage was reached and refused."""


class ObjectMissing(StorageError):
    """The object, or that version of it, does not exist."""


class StorageMismatch(StorageError):
    """This process uses another storage than the service that shares its database."""


class DiskUnavailable(StorageError):
    """This machine's disk cannot store the bytes: it is full, read-only or missing; a retry may succeed."""


class ArtifactError(RegistryError):
    """The file may not be served.

    `code` names the cause for programs and stays when the sentences change. `advice` is the next step, which ends the
    message; another cause that becomes known can replace it.
    """

    def __init__(self, finding: str, *, advice: str = "", code: str = "") -> None:
        super().__init__(f"{finding} {advice}" if advice else finding)
        self.advice = advice
        self.code = code


class UnsupportedFormat(ArtifactError):
    """The file's name does not end in a known format."""


class DigestMismatch(ArtifactError):
    """The bytes are not the registered ones."""


class ManifestError(ArtifactError):
    """The manifest cannot be read."""


class UntrustedArtifact(ArtifactError):
    """The artifact names code that is not on the list of trusted names."""


class BrokenArtifact(ArtifactError):
    """The artifact cannot be read or loaded."""


class UnsafeStructure(ArtifactError):
    """The arrays inside would crash or hang a prediction."""


class NoPrediction(ArtifactError):
    """The artifact loads, but cannot predict."""


class SignatureError(ArtifactError):
    """The artifact's signature is missing, wrong, or cannot be checked."""


class SampleMismatch(ArtifactError):
    """The artifact's predictions for its own sample differ from the expected ones."""


class RequestError(RegistryError):
    """The request cannot be carried out."""


class InvalidName(RequestError):
    """The model's name does not fit into a URL."""


class UnknownModel(RequestError):
    """No model of that name is registered."""


class UnknownVersion(RequestError):
    """The model has no version of that number."""


class NotActivatable(RequestError):
    """The version's state, or its verdict, forbids the activation."""


class NothingToRollBackTo(RequestError):
    """No other version was active before."""


class NotSplittable(RequestError):
    """The traffic cannot be split as asked."""


class NotShadowable(RequestError):
    """The version cannot get copies of the requests."""


class NotDeletable(RequestError):
    """The version is not rejected, or it is active, a running canary or a running shadow."""


class NoCanary(RequestError):
    """No canary of the model is running."""


class UnknownReplay(RequestError):
    """The model has no replay of that number."""


class NotExplainable(RequestError):
    """The contributions to a model's predictions are not exact; the message is a clause with the reason."""


class UnknownKey(RequestError):
    """No API key in use has that name or prefix."""


class Busy(RegistryError):
    """This machine already runs too many such tasks; a retry may succeed."""


class ActivationConflict(RegistryError):
    """Another activation came first."""


class ModelArchived(RegistryError):
    """The model is archived: its versions cannot be published or activated."""


class InputError(RegistryError):
    """A prediction's input is wrong; `code` and `details` are for programs, the message for people."""

    def __init__(self, message: str, *, code: str = "invalid_input", **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class ScoringRefused(RequestError):
    """A batch scoring job cannot begin or continue as it was asked."""


class UnknownBatch(RequestError):
    """There is no such batch scoring job."""
