"""What a caller is told when there is no answer, and what a request is checked for."""
