"""Encoders at work: from a recording to a label, a neighbour, a file that runs elsewhere."""
