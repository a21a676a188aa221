"""What differs between two runs, or between two arms of one?"""
