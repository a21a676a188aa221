"""Which code burns the service's CPU?"""
