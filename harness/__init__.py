"""Stands up real routers and a real crossbar node, breaks them on purpose, keeps the evidence."""
