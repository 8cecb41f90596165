"""Measures of separation quality against true sources."""
