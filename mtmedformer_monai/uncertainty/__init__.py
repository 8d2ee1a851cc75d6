"""Predictive uncertainty from a posterior over the weights."""
