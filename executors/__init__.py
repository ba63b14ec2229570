"""Executors: where runs live and how their jobs are worked off.

They are chosen by URL; users need to import nothing from here.
"""
