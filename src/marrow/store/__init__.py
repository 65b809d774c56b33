"""The on-disk form: ragged flat arrays and a Parquet index."""
