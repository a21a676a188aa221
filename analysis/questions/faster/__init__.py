"""Did it get faster?"""
