"""Reports to tables and one self-contained HTML page."""
