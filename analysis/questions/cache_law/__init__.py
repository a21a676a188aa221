"""Is the measured reduction the one that the hit rate predicts?"""
