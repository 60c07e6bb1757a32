"""What all trainers share: prefetching, checkpoints, progress."""
