"""Target and draft workers as the front sees them: started, watched, replaced, and called."""
