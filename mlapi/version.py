"""The service's own version, as the protocols that ask for one are told it."""

VERSION = "0.1.0"
