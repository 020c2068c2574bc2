"""What stands around every method: requests are counted, decoded, refused and answered alike."""
