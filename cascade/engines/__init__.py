"""The engines that run the networks: C on the CPU, or torch."""
