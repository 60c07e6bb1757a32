"""Archives of many photos."""
