"""The lockstep trainer."""
