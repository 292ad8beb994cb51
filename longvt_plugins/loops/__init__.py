"""What drives an episode: ``verl_loop`` inside verl's rollout."""
