"""What the server answers to, by function: faces, comparing, people, hiding, tables."""
