"""What did many runs of one experiment find?"""
