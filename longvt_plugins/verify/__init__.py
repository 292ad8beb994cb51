"""Token truth: does the trainer see what the engine saw? ``longvt verify MODEL``, and the checks behind it."""
