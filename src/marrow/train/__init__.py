"""The engine: trains any Trainable; knows no objective and no task."""
