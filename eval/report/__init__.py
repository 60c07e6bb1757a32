"""What an evaluation leaves behind: tables, curves, figures."""
