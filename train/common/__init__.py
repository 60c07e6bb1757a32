"""What all trainers share.

- `loop`: the training loop, and what a run is
- `prefetch`: the next batch, prepared in the background
- `order`, `schedule`, `averaging`: which samples a step takes, its learning rate, averaged weights
- `progress`: the bar, metrics.jsonl, and stopping on a loss that is not finite
- `checkpoints`, `settings`: what a run is resumed from, and what is recorded of it
- `warping`: crops, each warped by a transform of its own
- `options`: options of several commands
- `device`: the CPU or GPU to train on, alone or in several processes
"""
