"""Is it the same answer, and how much faster: baselines, benchmarks and the bundle check."""
