"""What texts are worth: a small click model with and without them, over several seeds (LASER, 4.1).

Importing this package is cheap: modules that need torch are imported by those who use them.
"""
