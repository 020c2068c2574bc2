"""What lasts as long as the front does: its tasks, its address, its socket folder."""
