"""Recipes before a run (composed, checked, made from a launch script), and a run over several Ray nodes."""
