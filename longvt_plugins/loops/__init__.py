"""What drives an episode: ``verl_loop`` inside verl's rollout, ``openai_loop`` over an OpenAI-compatible server."""
