"""What becomes tokens: how frames stand in messages, and the chat templates."""
