"""Evaluations side by side: a guard that they can be compared, a table, a picture and a page.

Needs the extra `train` (matplotlib, plotly's script, Pillow), but no torch.
"""
