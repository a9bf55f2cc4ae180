"""The Redis or Valkey server behind the queue: the embedded one, and clients of either."""
