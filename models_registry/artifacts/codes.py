"""The reasons for which an artifact is rejected, as codes for programs: they stay when the sentences change."""

UNREADABLE = "unreadable"
NAME_NOT_INSTALLED = "name_not_installed"
UNFITTED = "unfitted"
ROW_REFUSED = "row_refused"
EXCEPTION = "exception"
CRASHED = "crashed"
# The answer has not the shape, the type or the range of a prediction.
UNEXPECTED_ANSWER = "unexpected_answer"
# The answer differs from the prediction that the sample expects.
OTHER_ANSWER = "other_answer"

# The failures that other versions of the libraries can cause.
CAUSED_BY_VERSIONS = frozenset({
    UNREADABLE, NAME_NOT_INSTALLED, UNFITTED, ROW_REFUSED, EXCEPTION, CRASHED, UNEXPECTED_ANSWER, OTHER_ANSWER,
})  # fmt: skip
