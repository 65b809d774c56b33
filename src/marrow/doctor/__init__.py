"""Is this machine ready for marrow? Findings, each with what to do about it. Nothing heavy is imported here."""
