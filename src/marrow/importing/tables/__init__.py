"""Tables of positions: CSV, TSV, Parquet."""
