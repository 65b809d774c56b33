"""Recognition: which class a clip shows."""
