"""Which single requests are worth looking at?"""
