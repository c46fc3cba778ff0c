"""The service's own version, which the Open Inference Protocol, MLflow's `/version` and gRPC report.

`pyproject.toml` reads it from here. The first heading of CHANGELOG.md names this version, or `Unreleased` while changes
for the next one collect. A test compares the two.
"""

VERSION = "0.1.0"
