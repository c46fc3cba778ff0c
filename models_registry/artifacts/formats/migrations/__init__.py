"""Conversion of states that older versions of scikit-learn, numpy and scipy wrote.

An estimator is stored as its attributes, and these differ between versions of scikit-learn. Without a conversion such
a file fails, or gives other answers without an error. These tables convert a state while a file is read:

names.py               names that moved or were removed; only strings, so that an inspection imports nothing
stand_ins.py           replacements for removed names
changes_before_1_0.py  changes of a fitted state up to scikit-learn 0.24, each with its class, version and source
changes_since_1_0.py   changes of a fitted state from scikit-learn 1.0 on
table.py               all changes, and the function that applies them

To add a change, add a row to one of the two modules of changes. Its function belongs to the module of its kind: trees,
ensembles, linear, preprocessing or others. An artifact of the older version proves it: tests/artifacts/old_versions.
"""
