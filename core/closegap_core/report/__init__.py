"""One self-contained HTML page on what was trained, measured and encoded: `page.build` and `page.build_single`.

Needs the extra `train` (plotly for the charts' script, Pillow for the pictures), but no torch.
"""
