"""The horizons that every answer speaks of, beside the one that the model was trained for."""

HORIZONS_DAYS = (30, 90, 180)
