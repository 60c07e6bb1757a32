"""Training of the detector: samples, trainer and export of each stage, and the pipeline of all."""
