"""What is a database or cache call, which of them are queries, and which statements are the same?"""
