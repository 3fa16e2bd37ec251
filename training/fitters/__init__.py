"""What learns: each fitter returns a model of `training.models`."""
