"""What stays: sealed bundles, the registry of models, and what nobody needs any more."""
