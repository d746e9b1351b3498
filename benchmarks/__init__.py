"""What the project promises of its speed: `python -m benchmarks`."""
