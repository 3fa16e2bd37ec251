"""The HTTP interface: what every request passes, and the routes."""
