"""The service's own version, for protocols that report it."""

VERSION = "0.1.0"
