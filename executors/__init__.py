"""Executors: where runs live and how their jobs are worked off. Chosen by URL; nothing here needs to be imported by users."""
