"""Texts that were generated before, as drafts of the next ones: suffix index, pools, tiers (LASER, section 3)."""
