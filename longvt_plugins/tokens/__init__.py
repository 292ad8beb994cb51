"""What becomes tokens: how frames stand in messages, media profiles, chat templates, positions, the budget."""
