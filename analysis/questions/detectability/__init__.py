"""How much would I have to run to know?"""
