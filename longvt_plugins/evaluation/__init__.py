"""Questions to a served checkpoint, one record each: the same episode, tool and reward as in RL."""
