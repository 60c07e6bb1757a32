"""Networks as data: layers, graphs, quantization, and their torch twins."""
