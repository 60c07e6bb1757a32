"""Training of what a face tells: classes, ordered classes and numbers, one network for all.

- `sources`, `pack`, `store`: from sets of photos to aligned crops with their labels
- `tasks`, `settings`: what is learned, and the TOML file that says so
- `architectures`, `model`: the frozen part of a recogniser, and the tail and heads over it
- `networks`, `torch_file`: networks for torch alone, and their files
- `warm_start`: beginning from what an earlier run learned
- `prepare`, `features`, `batches`: cached features of augmented crops, and what a step learns from
- `losses`: over the labels that are there, and the weights of the tasks
- `trainer`, `measures`, `export`: a run, how well it does, and the weight file with its model card
- `private`: heads that learn with differential privacy
- `command`: the command line
"""
