"""Ignite handlers for MONAI's stock trainer and evaluator."""
