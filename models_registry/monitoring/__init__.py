"""Monitoring of models in service: usage windows, drift, quality, replays."""
