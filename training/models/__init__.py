"""Models as parameters and formulas: they answer, and learn nothing."""
