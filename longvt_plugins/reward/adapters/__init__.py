"""The reward in other projects. One module each, importing nothing of the project but what it plugs into."""
