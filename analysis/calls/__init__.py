"""What is a call to a database or cache, which are queries, which statements are the same?"""
