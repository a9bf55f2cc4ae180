"""The Python client of the HTTP API: `from closegap import Client`."""
