"""Networks, and the interface of what can be trained."""
