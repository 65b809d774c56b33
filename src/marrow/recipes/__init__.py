"""The papers' settings, one YAML each."""
