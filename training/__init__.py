"""Training: a function from a dataset directory and a config to a model directory and a report."""
