"""What an evaluation found, for people and for scripts: one page with plots, one JSON document, a few tables."""
