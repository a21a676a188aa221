"""The live page inside Locust's web interface."""
