"""Teammy's Python API for in-call plugins."""
