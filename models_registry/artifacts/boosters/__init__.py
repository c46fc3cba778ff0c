"""XGBoost and LightGBM models, decoded and evaluated by this package's own code.

The libraries do not check all of a model that they parse, so they never read a file's bytes. Decoders with limits read
the model and validate its trees; workers evaluate these trees. In the sandbox, the library gets a copy that is
rewritten from the validated trees. Its predictions must be equal before a version may serve.
"""
