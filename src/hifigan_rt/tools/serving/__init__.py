"""Serves loaded models over HTTP and WebSocket: limits, models, scheduling, routes, metrics."""
