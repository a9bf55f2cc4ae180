"""Who may ask: tokens, sessions of the page, and which service commands talk to."""
