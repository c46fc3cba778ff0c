"""XGBoost's and LightGBM's models, read and evaluated by code of our own.

The libraries parse a model without checking all of it, so they never see a file's bytes: decoders with bounds read the
model, its trees are validated, and workers evaluate those. In the sandbox the library itself gets a copy that is
written again from the validated trees, and must answer alike before a version may serve.
"""
