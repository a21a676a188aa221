"""How many requests failed or were refused?"""
