"""What is matched: observations, geology, and the objective."""
