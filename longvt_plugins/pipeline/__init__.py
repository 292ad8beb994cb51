"""Stages of a run that are done once: begun, resumed, skipped or refused by what they were made from."""
