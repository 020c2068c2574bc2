"""Catalog and settings that are read again while requests run."""
