"""Action detection: when an action begins and ends in a recording."""
