"""The gate before an RL run is paid for: a few rollouts as the recipe makes them, and can they teach anything?"""
