"""Subscriptions and publications as one awaits them."""
