"""The torch engine: the same stages on a CPU or a GPU, also for batches of images."""
