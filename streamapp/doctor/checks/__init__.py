"""The checks of `streamapp doctor` as pure functions: facts in, findings out."""
