"""The demonstration: its pipeline, and the figures it ends with."""
