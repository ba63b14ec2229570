"""``redis://``: runs on a Redis server, worked off by a fleet of workers."""
