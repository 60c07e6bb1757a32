"""The weights in the wheel, their model cards, and the loaders for all of them."""
