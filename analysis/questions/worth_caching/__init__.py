"""What else is worth caching?"""
