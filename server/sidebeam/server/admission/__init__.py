"""Which requests are let in, how many at once, and until when."""
