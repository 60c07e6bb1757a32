"""Evaluation of face age synthesis: judges that took no part in training, measures, and the protocol."""
