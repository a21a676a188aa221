"""What the processes agree on, once; imports the standard library and pyarrow, nothing of ours."""
