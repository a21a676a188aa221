"""The load: an open loop inside Locust, the recording of requests, the live page."""
