"""The HTTP API: one file a resource, `app` puts them together."""
