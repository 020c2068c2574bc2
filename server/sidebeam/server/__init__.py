"""The front server: validates, builds prompts, runs the draft, verify and stream loop. It holds no tensors."""
