"""What is the answer, in three sentences and one figure?"""
