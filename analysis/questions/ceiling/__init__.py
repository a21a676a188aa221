"""What would have been the most that this could give?"""
