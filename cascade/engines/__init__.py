"""What runs the networks: C on the CPU, or torch."""
