"""Measuring a trained model: `evaluate.evaluate` and what it is made of."""
