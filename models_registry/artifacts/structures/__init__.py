"""Checks of estimators' arrays that the libraries' compiled code does not check."""
