"""Is a whole request the same, within a margin that matters?"""
