"""One file per question; each is run as `python -m benchmarks.<name>` and prints one JSON object as its last line."""
