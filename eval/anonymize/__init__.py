"""How well faces are hidden: whether they are, what else is, and whether hidden ones can be recognised."""
