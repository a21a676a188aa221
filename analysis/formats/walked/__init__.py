"""JSON formats read by a compiled walk over the text; what is unusual is left to the others."""
