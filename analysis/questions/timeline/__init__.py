"""What happened when?"""
