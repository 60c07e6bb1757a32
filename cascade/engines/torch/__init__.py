"""The torch engine: a CPU or a GPU, one image or a batch."""
