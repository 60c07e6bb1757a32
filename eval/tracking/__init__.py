"""Evaluating how well people are followed through videos."""
