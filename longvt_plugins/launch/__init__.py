"""What is done with recipes before a run: compose them, check them, make one from a launch script."""
