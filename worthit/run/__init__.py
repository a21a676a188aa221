"""One experiment in, one run directory out: start the parts, drive the load, record, judge."""
