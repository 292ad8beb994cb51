"""For our tests and our users': tiny real models, generated footage, scripted engines and fault injection."""
