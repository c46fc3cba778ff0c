"""What older versions of scikit-learn, numpy and scipy wrote otherwise, and how it is read today.

An estimator is stored as its attributes, and every version of scikit-learn writes and expects others. Without a
conversion such a file fails, or answers something else without any error. Three tables convert while a file is read:

names.py     names that moved or are gone; only strings, so that an inspection imports nothing
stand_ins.py what is put in the place of names that are gone
table.py     changes of a fitted state, each with its class, its version and where scikit-learn's source shows it

A new change is a new row of `table.CHANGES` (its function stands in the module of its kind: trees, ensembles, linear,
preprocessing, others), with an artifact written by the older version that proves it: tests/artifacts/old_versions.
"""
