"""Exact contributions of the input features to a model's predictions, for linear models and trees.

A model without exact contributions is refused with a reason.
"""
