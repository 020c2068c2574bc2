"""Drafts that agree with their target where verification looks: teacher data and the objectives on its beams (AtSpeed).

Importing this package is cheap: modules that need torch are imported by those who train.
"""
