"""The reference chat service: the service under test. Imports none of the other packages."""
