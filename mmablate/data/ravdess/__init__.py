"""RAVDESS: acted emotions, seen and heard."""
