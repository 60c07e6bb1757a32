"""Training of 68 landmarks: `shapes` (their geometry), `pack`, `augment`, `network`, `trainer`, `export`, `command`."""
