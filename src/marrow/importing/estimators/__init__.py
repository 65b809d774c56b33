"""The JSON of pose estimators, and people who are followed through it."""
