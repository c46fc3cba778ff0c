"""What the compiled parts of the libraries believe of an estimator's arrays without checking it."""
