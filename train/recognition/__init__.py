"""Training of age-invariant recognition: from photos of people to a recogniser's weight file.

- `sources`: the TOML file that lists what to learn from
- `pack`, `crops`: photos → aligned crops and labels, packed once
- `teacher`: embeddings of a public network for these crops
- `architectures`, `decomposition`: the networks, and how features become an age part and an identity part
- `cosface`, `age`, `reversal`: the large-margin head, age as a distribution, gradient reversal
- `model`, `losses`: the parts together, and what is minimised
- `augment`, `batches`: changes that leave the person the same, and what a step learns from
- `settings`, `loop`, `processes`, `transfer`: presets, the training loop, torchrun, starting from an earlier run
- `measures`, `curves`, `export`: faces kept out, curves, the weight file and its card
- `ablation`: what decomposition and the adversary are worth
"""
