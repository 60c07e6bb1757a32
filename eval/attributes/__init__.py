"""How well a model says what faces look like: classes, ages, calibration, errors by group."""
