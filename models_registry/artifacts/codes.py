"""Why an artifact is rejected, for programs: the codes stay when the sentences change."""

UNREADABLE = "unreadable"
NAME_NOT_INSTALLED = "name_not_installed"
UNFITTED = "unfitted"
ROW_REFUSED = "row_refused"
EXCEPTION = "exception"
CRASHED = "crashed"
# Not of the shape, the type or the range that a prediction has.
UNEXPECTED_ANSWER = "unexpected_answer"
# Another value than the sample expects.
OTHER_ANSWER = "other_answer"

# The failures that other versions of the libraries can cause.
CAUSED_BY_VERSIONS = frozenset({
    UNREADABLE, NAME_NOT_INSTALLED, UNFITTED, ROW_REFUSED, EXCEPTION, CRASHED, UNEXPECTED_ANSWER, OTHER_ANSWER,
})  # fmt: skip
