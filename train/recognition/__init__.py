"""Training of age-invariant recognition: from photos of people to a recogniser's weight file.

- `sources`: the TOML file that lists what to learn from
- `pack`, `crops`: photos → aligned crops and labels, and their store
- `ncnn_format`, `teacher`: a public network, its embeddings of these crops, and its maps
- `architectures`, `decomposition`: the networks, and how features become an age part and an identity part
- `cosface`, `age`, `reversal`: the large-margin head, age as a distribution, gradient reversal
- `model`, `losses`: the parts together, and what is minimised
- `augment`, `batches`, `feature_cache`: augmentation, what a step learns from, cached features of frozen stages
- `settings`, `trainer`, `transfer`, `block_fitting`: presets, training, starting from a run or a teacher's blocks
- `measures`, `age_means`, `curves`, `export`: held-out faces, age-mean subtraction, curves, the weight file
- `command`: the commands of `python -m train`
"""
