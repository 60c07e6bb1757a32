"""Training of what a face tells: classes, ordered classes and numbers, one network for all.

- `sources`, `pack`, `store`: from sets of photos to aligned crops with their labels
- `tasks`, `config`: what is learned, and the TOML file that says so
- `architectures`, `model`: the frozen part of a recogniser, and the tail and heads over it
- `features`, `batches`: cached maps of augmented crops, and what a step learns from
- `losses`, `weighting`: over the labels that are there
- `trainer`, `measures`, `export`: a run, how well it does, and the weight file with its model card
"""
