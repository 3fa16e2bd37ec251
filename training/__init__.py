"""Learning from many cutoffs: labels, models, backtests, promotion, the bundle."""
