"""The verdict: may a run be believed?"""
