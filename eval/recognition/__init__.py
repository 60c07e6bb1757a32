"""Protocols for recognition: verification, identification, ages, false accepts."""
