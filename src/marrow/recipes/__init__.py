"""The full settings of runs, one YAML file each, with paper, command, cost and expected number in its header."""
