"""Does the database work less?"""
