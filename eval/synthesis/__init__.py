"""Evaluation of face age synthesis: evaluators that took no part in training, measures, and the protocol."""
