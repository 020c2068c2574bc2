"""What the project's reports share: a page that asks for nothing, round axes, and a folder that is filled whole."""
