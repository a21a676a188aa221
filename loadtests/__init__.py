"""Locust scenarios with open-loop arrivals: ``locust -f loadtests``."""
