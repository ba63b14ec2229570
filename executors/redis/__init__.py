"""`redis://` and its kin: the same flow on a fleet of workers, over a Redis or Valkey server."""
