"""Claims and thresholds: does a run keep them?"""
