"""What keeps one slow or missing server from becoming everybody's problem."""
