"""The V1 trainer mode ``longvt_sync``: writes trajectories, logs what happened, decides inclusion."""
