"""Exact contributions of the input features to what a model answers: linear models and trees.

A model whose contributions are not known exactly is refused by name.
"""
