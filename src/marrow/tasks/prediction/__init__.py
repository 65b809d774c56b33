"""Motion prediction: how a body moves on."""
