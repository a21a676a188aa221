"""What servers and the machine counted while a run went on: rows for counters.parquet."""
