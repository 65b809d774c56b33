"""marrow: representations of human motion, learned from unlabelled 3D skeleton sequences."""

__version__ = "0.1.0"
