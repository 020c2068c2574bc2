"""What reports share: a page that asks for nothing, round axes, a folder that is filled whole, progress till then."""
