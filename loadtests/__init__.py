"""Locust scenarios with honest open-loop arrivals: ``locust -f loadtests``."""
